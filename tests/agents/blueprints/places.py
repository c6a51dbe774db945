"""A directory of blueprints under watch: real skills decide, govern and verify; the services are variables."""

from __future__ import annotations

from pathlib import Path

from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.blueprints.fleet import Fleet
from interlock.agents.blueprints.loop import Loop, Mode
from interlock.agents.blueprints.resetting import Resets, sign_reset
from interlock.agents.blueprints.told import Told
from interlock.agents.blueprints.watched import Watched
from interlock.bus.clock import SystemClock
from tests.agents.blueprints.toy import ToyCluster, ToyGoals
from tests.agents.conftest import Keys

TEXT = """apiVersion: infra.spec-driven.io/v1
kind: InfrastructureBlueprint
metadata: {name: NAME, version: 1.0.0}
spec:
  resources: {cpu: {request: 100m, limit: 500m}, memory: {request: 128Mi, limit: 512Mi}}
  scaling: {min_replicas: 1, max_replicas: 5, cooldown_period: 60s, stabilization_window: 60s}
  reliability: {verification_wait: 60s}
  governance:
    agent_authority:
      allowed_operations: [scale_within_limits]
      requires_approval: [scale_beyond_limits]
    approval_workflow: {approvers: [ada]}
"""


class Place:
    """A directory of blueprints under watch."""

    def __init__(self, root: Path, names: tuple[str, ...] = ("web",), mode: Mode = "act") -> None:
        self.root, self.mode = root, mode
        (root / "access").mkdir()
        self.cluster = ToyCluster(root / "access")
        self.goals = ToyGoals(self.cluster, root / "runs")
        self.told: list[Told] = []
        self.keys = Keys("w")
        for name in names:
            self.write(name, TEXT)
        self.names = names
        self.restart()

    def restart(self) -> None:
        """A new watcher over what the one before left on disk."""
        self.log = DecisionLog(self.root / "log")
        fleet = Fleet(self.root / "keep")
        self.loop = Loop(
            self.cluster,
            self.goals,
            self.log,
            fleet,
            self.cluster.clock,
            resets=Resets(lambda: self.keys.trust, SystemClock()),
            tell=self.told.append,
            mode=self.mode,
            change_look_s=0.01,
        )
        self.watched = [Watched(self.root / name / "blueprint.yaml", self.root / "keep") for name in self.names]

    def write(self, name: str, text: str) -> None:
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "blueprint.yaml").write_text(text.replace("NAME", name))

    def order(self, service: str = "web", by: str = "human", why: str = "", ago_ms: int = 0) -> bytes:
        """What a human signs to close a breaker."""
        at_ms = SystemClock().now_ms() - ago_ms
        return sign_reset(self.keys.agents[by], workspace="w", service=service, why=why, by=by, at_ms=at_ms)

    def leave(self, order: bytes) -> None:
        (self.root / "keep" / "web.reset").write_bytes(order)

    async def look(self, times: int = 1, every_ms: int = 15_000) -> None:
        for _ in range(times):
            for watched in self.watched:
                await self.loop.look(watched)
            await self.cluster.pass_time(every_ms)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(record.decision.type, record.outcome) for record in self.log.records()]


APPROVED = TEXT.replace("[scale_within_limits]", "[]").replace("[scale_beyond_limits]", "[scale_within_limits]")
