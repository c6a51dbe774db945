"""The policies in force in this process: one bundle, one memo, one worker, shared by all that ask."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from interlock.bus.policy.bundle import PolicyBundle, load_bundle
from interlock.bus.policy.facts import Facts
from interlock.bus.policy.memo import Memo
from interlock.bus.policy.worker import PolicyWorker, WorkerSettings
from interlock.envelope.verdict import Verdict

_encode = msgspec.json.Encoder().encode


class PolicyService:
    """Answers facts with verdicts. Not for several event loops at a time in different threads."""

    def __init__(self, bundle: PolicyBundle, settings: WorkerSettings | None = None) -> None:
        self.bundle = bundle
        self.worker = PolicyWorker(bundle.modules, settings)
        self._memo = Memo()
        self._asked: dict[bytes, anyio.Event] = {}

    @property
    def digest(self) -> str:
        """What policyContext.policyBundle and the contract state."""
        return self.bundle.digest

    async def judge(self, facts: Facts) -> Verdict:
        """Never raises for a policy's failure: that is a denial."""
        document = _encode(facts)
        while True:
            remembered = self._memo.find(document)
            if remembered is not None:
                return remembered
            asked = self._asked.get(document)
            if asked is None:
                break
            await asked.wait()  # another hop like this one is being judged
        answered = self._asked[document] = anyio.Event()
        try:
            verdict = await self.worker.judge_soon(document)
            self._memo.keep(document, verdict)
        finally:
            del self._asked[document]
            answered.set()
        return verdict

    def judge_now(self, facts: Facts) -> Verdict:
        """The same, blocking."""
        document = _encode(facts)
        verdict = self._memo.find(document) or self.worker.judge(document)
        self._memo.keep(document, verdict)
        return verdict

    def close(self) -> None:
        self.worker.close()


def policy_service(policies: Path, workspace: Sequence[Path] = ()) -> PolicyService:
    """The service of a bundle as it is on disk now; the same one for the same bundle, ended with the process. Raises
    PolicyError.
    """
    return _service_of(load_bundle(policies, workspace))


@functools.lru_cache(maxsize=8)
def _service_of(bundle: PolicyBundle) -> PolicyService:
    service = PolicyService(bundle)
    atexit.register(service.close)
    return service
