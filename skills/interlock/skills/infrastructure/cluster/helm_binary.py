"""Runs the `helm` binary, held in check: an environment of its own (no inherited secrets), a session of its own that ends
with it, bounded time and output, values in a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream

from interlock.skills.errors import SkillsError

_MOST_OUTPUT_BYTES = 1024 * 1024
_TOLD_BYTES = 400


class HelmFailed(Exception):
    """It ended with an error or not in time. told: its last words."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told


class Helm:
    """One kubeconfig. binary: where helm is; without it, it is looked for in PATH. Raises SkillsError if there is none."""

    def __init__(self, kubeconfig: Path | None, *, binary: str = "", timeout_s: float = 60.0) -> None:
        found = binary or shutil.which("helm")
        if not found:
            raise SkillsError("helm_missing", "the helm binary is not installed", "Install helm 3 and put it into PATH")
        self._binary = found
        self.kubeconfig = kubeconfig
        self._timeout_s = timeout_s

    async def revision(self, release: str, namespace: str) -> int:
        """The release's newest revision. Raises HelmFailed."""
        told = await self._run(["history", "--max=1", "--output=json", f"--namespace={namespace}", "--", release])
        try:
            return int(json.loads(told)[-1]["revision"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise HelmFailed(f"cannot read the history of {release}: {error}") from None

    async def upgrade(
        self, release: str, chart: str, version: str, namespace: str, values: Mapping[str, Any], *, dry_run: bool
    ) -> None:
        """Upgrades with the release's values and these on top. Raises HelmFailed."""
        words = ["upgrade", "--reuse-values", f"--namespace={namespace}", "--values=values.json", "--history-max=10"]
        # The API server validates what it is sent; asking it for its schema first only costs time.
        words += ["--disable-openapi-validation", *([f"--version={version}"] if version else [])]
        words += ["--dry-run=server"] if dry_run else []
        await self._run([*words, "--", release, chart], values=values)

    async def roll_back(self, release: str, namespace: str, revision: int) -> None:
        """Raises HelmFailed."""
        await self._run(["rollback", f"--namespace={namespace}", "--", release, str(revision)])

    async def _run(self, words: Sequence[str], values: Mapping[str, Any] | None = None) -> str:
        with tempfile.TemporaryDirectory(prefix="interlock-helm-") as directory:
            home = Path(directory)
            (home / "values.json").write_text(json.dumps(values or {}))
            env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": directory, "HELM_NAMESPACE": ""}
            env |= {f"HELM_{name}_HOME": directory for name in ("CACHE", "CONFIG", "DATA")}
            if self.kubeconfig is not None:
                env["KUBECONFIG"] = str(self.kubeconfig.absolute())
            return await self._ended([self._binary, *words], env, home)

    async def _ended(self, command: list[str], env: dict[str, str], directory: Path) -> str:
        process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            env=env,
            cwd=directory,
            start_new_session=True,
        )
        said = {"out": b"", "err": b""}

        async def collect(name: str, stream: ByteReceiveStream | None) -> None:
            async for chunk in stream or ():  # type: ignore[union-attr]
                said[name] += chunk[: _MOST_OUTPUT_BYTES - len(said[name])]

        try:
            with anyio.fail_after(self._timeout_s):
                async with anyio.create_task_group() as group:
                    group.start_soon(collect, "out", process.stdout)
                    group.start_soon(collect, "err", process.stderr)
                status = await process.wait()
        except TimeoutError:
            raise HelmFailed(f"helm {command[1]} did not end within {self._timeout_s:g} s") from None
        finally:
            await _end(process)
        if status != 0:
            told = said["err"].decode("utf-8", "replace").strip()[-_TOLD_BYTES:]
            raise HelmFailed(f"helm {command[1]}: {told or f'exit status {status}'}")
        return said["out"].decode("utf-8", "replace")


async def _end(process: anyio.abc.Process) -> None:
    """Nothing of its session outlives it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    with anyio.CancelScope(shield=True):
        await process.aclose()
