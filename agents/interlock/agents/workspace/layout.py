"""Where a workspace keeps things. `.interlock/` is private: keys, trust, store, what is running."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from interlock.agents.workspace.settings import FILE

HIDDEN = ".interlock"


class Running(Struct, frozen=True):
    """run/server.json: where the broker of a running `up` or `run` is. began: when that process did, by the system's own
    reckoning, for a process id is given to another sooner or later; empty where the system does not tell. server_pid:
    0 if it was not started here. cluster: whether it is the workspace's own cluster.
    """

    url: str
    pid: int
    began: str = ""
    server_pid: int = 0
    cluster: bool = False


def process_began(pid: int) -> str:
    """Boot and clock ticks at which a process began (proc(5): stat, field 22); empty if there is none or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"


class Layout(Struct, frozen=True):
    root: Path

    @classmethod
    def find(cls, start: Path) -> Layout:
        """The nearest directory upwards that has interlock.yaml or .interlock; else the start itself."""
        absolute = start.resolve()
        for directory in (absolute, *absolute.parents):
            if (directory / FILE).is_file() or (directory / HIDDEN).is_dir():
                return cls(directory)
        return cls(absolute)

    @property
    def hidden(self) -> Path:
        return self.root / HIDDEN

    @property
    def settings(self) -> Path:
        return self.root / FILE

    @property
    def keys(self) -> Path:
        return self.hidden / "keys"

    def key(self, name: str) -> Path:
        """The seed of an agent, of the admin, or of a root."""
        return self.keys / f"{name}.nk"

    @property
    def broker(self) -> Path:
        return self.hidden / "broker"

    @property
    def users(self) -> Path:
        return self.broker / "users.conf"

    @property
    def is_secure(self) -> bool:
        """Whether the broker knows its users (`interlock init --secure`)."""
        return self.users.exists()

    @property
    def trust(self) -> Path:
        return self.hidden / "trust.json"

    @property
    def roots(self) -> Path:
        return self.hidden / "roots.json"

    @property
    def contracts(self) -> Path:
        return self.hidden / "contracts"

    @property
    def store(self) -> Path:
        return self.hidden / "store"

    @property
    def cluster(self) -> Path:
        """The stores of `up --cluster`, apart from that of a single server."""
        return self.hidden / "cluster"

    @property
    def checkpoint(self) -> Path:
        """The auditor's memory of its log, outside the broker's store."""
        return self.hidden / "audit" / "checkpoint"

    @property
    def cluster_checkpoint(self) -> Path:
        """The same for the log in the stores of `up --cluster`, which is another log."""
        return self.hidden / "audit" / "checkpoint-cluster"

    @property
    def reports(self) -> Path:
        """The auditor's reports by date, `reports/2026/11/20/`."""
        return self.root / "reports"

    @property
    def decision_places(self) -> Path:
        """Notes of where decision logs are (blueprints.decision_places)."""
        return self.hidden / "blueprints" / "decision-logs"

    @property
    def run(self) -> Path:
        return self.hidden / "run"

    @property
    def server(self) -> Path:
        return self.run / "server.json"

    @property
    def metrics(self) -> Path:
        """A file per running role: where its metrics are, as Prometheus reads such files (file_sd_configs)."""
        return self.run / "metrics"

    def running(self) -> Running | None:
        """What run/server.json says, if the process that wrote it is alive."""
        import os

        try:
            running = msgspec.json.decode(self.server.read_bytes(), type=Running)
            if running.pid < 1:  # to kill(2) these are groups
                return None
            os.kill(running.pid, 0)
        except (OSError, OverflowError, msgspec.MsgspecError, ValueError):
            return None
        return running if process_began(running.pid) == running.began else None
