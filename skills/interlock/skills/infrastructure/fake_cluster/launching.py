"""Starts the fake cluster as a process of its own and speaks with its admin endpoint."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from interlock.bus.child import BoundChild
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.fake_cluster.access import ADMIN
from interlock.skills.infrastructure.fake_cluster.certificate import write_certificate
from interlock.skills.infrastructure.fake_cluster.faults import Fault
from interlock.skills.infrastructure.fake_cluster.world.settings import WorldSettings

_STARTS_WITHIN_S = 20.0
_GRACE_MS = 2_000
_ADMIN_TIMEOUT_S = 60.0
# What Python needs to start; nothing of the caller's secrets.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")


class FakeCluster:
    """A running server. url, token (of the admin), kubeconfig: how to reach it. Ends with `stop` or with this process."""

    def __init__(
        self,
        directory: Path,
        *,
        stepped: bool = True,
        start_ms: int | None = None,
        objects: Sequence[Path] = (),
        rbac: Sequence[Path] = (),
        users: Sequence[str] = (),
        bookmark_ms: int = 1_000,
    ) -> None:
        """directory: for its output and kubeconfig files. users: names that get a token beside the admin; see
        `kubeconfig_for`. Raises SkillsError if it does not start.
        """
        self._directory = directory
        self.tokens = {user: secrets.token_hex(16) for user in (ADMIN, *users)}
        self.token = self.tokens[ADMIN]
        command = [sys.executable, "-m", "interlock.skills.infrastructure.fake_cluster", "--parent", str(os.getpid())]
        command += ["--bookmark-ms", str(bookmark_ms), *(["--stepped"] if stepped else [])]
        command += [] if start_ms is None else ["--start-ms", str(start_ms)]
        command += [word for path in objects for word in ("--objects", str(path))]
        command += [word for path in rbac for word in ("--rbac", str(path))]
        tokens = json.dumps({token: user for user, token in self.tokens.items()})
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ} | {"INTERLOCK_FAKE_TOKENS": tokens}
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "fake-cluster.crt"
        key = directory / "fake-cluster.key"
        write_certificate(self.certificate, key)
        command += ["--certificate", str(self.certificate), "--key", str(key)]
        self.trust = ssl.create_default_context(cafile=str(self.certificate))
        output = directory / "fake-cluster.log"
        output.unlink(missing_ok=True)
        self._child = BoundChild(command, env=env, output=output, binds_itself=True)
        self.url = self._wait_for_url(output)
        self.kubeconfig = self.kubeconfig_for(ADMIN)

    def kubeconfig_for(self, user: str, namespace: str = "default") -> Path:
        """A kubeconfig file of one user."""
        path = self._directory / f"kubeconfig-{user.replace(':', '-')}.yaml"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [
                {"name": "fake", "cluster": {"server": self.url, "certificate-authority": str(self.certificate)}}
            ],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": user, "namespace": namespace}}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def step(self, ms: int) -> int:
        """Moves the simulated time on; gives what the clock shows then."""
        return int(self._admin("POST", "step", {"ms": ms})["now_ms"])

    def now_ms(self) -> int:
        """What the server's clock shows."""
        return int(self._admin("GET", "clock")["now_ms"])

    def script(self, *faults: Fault) -> None:
        """Adds faults to those that will hit."""
        self._admin("POST", "faults", list(faults))

    def faults_left(self) -> int:
        """How many faults still have hits to come."""
        return len(self._admin("GET", "faults"))

    def forget_faults(self) -> None:
        self._admin("DELETE", "faults")

    def configure(self, settings: WorldSettings) -> None:
        """Replaces the world's settings."""
        self._admin("POST", "world", settings)

    def enforce(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Loads RBAC objects; from then on nobody but the admin may do more than they say."""
        self._admin("POST", "access", list(documents))

    def compact(self) -> None:
        """Forgets history: watches and list continuations from before get 410 Gone."""
        self._admin("POST", "compact", {})

    def requests(self) -> list[dict[str, Any]]:
        """Every resource request since the start or `forget_requests`, as `server.Seen`."""
        return list(self._admin("GET", "requests"))

    def forget_requests(self) -> None:
        self._admin("DELETE", "requests")

    def stop(self) -> None:
        """Ends the process."""
        if not self._child.ended.done():
            self._child.stop(_GRACE_MS)

    def __enter__(self) -> FakeCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/_admin/{path}", data=data, method=method, headers=headers)  # noqa: S310 - https, ours
        try:
            with urllib.request.urlopen(request, timeout=_ADMIN_TIMEOUT_S, context=self.trust) as answer:  # noqa: S310 - https, ours
                return json.load(answer)
        except urllib.error.HTTPError as error:
            told = json.load(error)
            raise SkillsError("fake_cluster_refused", str(told.get("message", error))) from None

    def _wait_for_url(self, output: Path) -> str:
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < deadline and not self._child.ended.done():
            text = output.read_text() if output.exists() else ""
            if text.startswith("{") and "\n" in text:
                return str(json.loads(text.partition("\n")[0])["url"])
            time.sleep(0.02)
        self.stop()
        told = output.read_text().strip().rpartition("\n")[2] if output.exists() else ""
        raise SkillsError(
            "fake_cluster_did_not_start", f"the fake cluster did not start: {told or 'no answer in time'}"
        )
