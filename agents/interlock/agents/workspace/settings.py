"""interlock.yaml: everything a workspace may set, with its unit in the name and its default here (docs/settings.md
explains it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from interlock.agents.console.settings import ConsoleSettings
from interlock.agents.errors import UserError
from interlock.agents.planning.model_settings import ModelPlanner
from interlock.agents.workspace.files import read_file
from interlock.agents.workspace.kind_settings import SUMMARIES, KindSetting
from interlock.bus.breaker import BreakerSettings
from interlock.bus.control.holder import ControlSettings
from interlock.bus.rates import RateLimit
from interlock.bus.yaml12 import MAX_BYTES, YamlError, load_yaml
from interlock.envelope.amounts import Amount, micro_usd
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.ids import Token
from interlock.envelope.kind_quota import KindQuota, kinds_problem
from interlock.envelope.payloads import MAX_DECIDERS
from interlock.envelope.verification import Limits

FILE = "interlock.yaml"
Positive = Annotated[int, Meta(ge=1, le=2**53)]


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class DayLimit(_Part, frozen=True, kw_only=True):
    """What the workspace may spend a day, all goals together."""

    cost_usd: str = "500"
    tokens: Positive = 10**10
    wall_ms: Positive = 10**12
    actions: Positive = 10**8

    @property
    def amount(self) -> Amount:
        return Amount(self.tokens, micro_usd(self.cost_usd), self.wall_ms, self.actions)


class HopLimits(_Part, frozen=True, kw_only=True):
    max_bytes: Positive = 256 * 1024
    max_ttl_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 3_600_000
    skew_ms: Annotated[int, Meta(ge=0, le=5_000)] = 5_000

    @property
    def limits(self) -> Limits:
        return Limits(self.max_bytes, self.max_ttl_ms, self.skew_ms)


class Rates(_Part, frozen=True, kw_only=True):
    """Hops a minute; 0: no limit."""

    agent_per_minute: Annotated[int, Meta(ge=0)] = 0
    agent_burst: Positive = 1_000
    workspace_per_minute: Annotated[int, Meta(ge=0)] = 0
    workspace_burst: Positive = 10_000

    @property
    def agent(self) -> RateLimit:
        return RateLimit(per_minute=self.agent_per_minute, burst=self.agent_burst)

    @property
    def workspace(self) -> RateLimit:
        return RateLimit(per_minute=self.workspace_per_minute, burst=self.workspace_burst)


class Breakers(_Part, frozen=True, kw_only=True):
    failures: Annotated[int, Meta(ge=0)] = 5
    open_ms: Positive = 30_000

    @property
    def settings(self) -> BreakerSettings:
        return BreakerSettings(failures=self.failures, open_ms=self.open_ms)


class Control(_Part, frozen=True, kw_only=True):
    """lease_ms bounds the time within which a halt takes effect, heard of or not; four polls fit into it, so that a
    lost answer or two halt nobody.
    """

    lease_ms: Annotated[int, Meta(ge=300, le=10_000)] = 900
    poll_ms: Annotated[int, Meta(ge=50, le=2_500)] = 250
    grace_ms: Annotated[int, Meta(ge=0, le=600_000)] = 2_000

    def __post_init__(self) -> None:
        if self.poll_ms * 2 > self.lease_ms:
            raise ValueError("poll_ms must be at most half of lease_ms")

    @property
    def settings(self) -> ControlSettings:
        return ControlSettings(lease_ms=self.lease_ms, poll_ms=self.poll_ms, grace_ms=self.grace_ms)


class WebhookSettings(_Part, frozen=True, kw_only=True):
    """Where something is posted to. secret_file: what signs it, relative to interlock.yaml."""

    url: str
    secret_file: str


class Approvals(_Part, frozen=True, kw_only=True):
    """needed: how many different humans must approve; timeout_ms: how long they have; age_ms: how old an approval may be
    when what it allows begins.
    """

    needed: Annotated[int, Meta(ge=1, le=MAX_DECIDERS)] = 1
    timeout_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 3_600_000
    age_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 3_600_000
    webhook: WebhookSettings | None = None

    @property
    def terms(self) -> ApprovalTerms:
        return ApprovalTerms(needed=self.needed, timeout_ms=self.timeout_ms, age_ms=self.age_ms)


class AuditSettings(_Part, frozen=True, kw_only=True):
    """witness: who is handed each signed checkpoint of the audit log, outside, so that a log cut short is noticed."""

    witness: WebhookSettings | None = None


MetricsPort = Annotated[int, Meta(ge=0, le=65_500)] | Literal["off"]


class TelemetrySettings(_Part, frozen=True, kw_only=True):
    """metrics_port: where a role's process serves /metrics, /health and /ready; 0: any free port, under `run` none; under `up`
    each role has the next port after the one before. slow_goal_ms: how old a goal is when its trace is kept whole, 0: never.
    """

    metrics_host: str = "127.0.0.1"
    metrics_port: MetricsPort = 0
    slow_goal_ms: Annotated[int, Meta(ge=0, le=2**31)] = 30_000
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Part, frozen=True, kw_only=True):
    """nats: a server's url; empty: an embedded one. durability: fast or safe, see docs/architecture/bus.md. isolation:
    strict refuses to run skills where the kernel cannot isolate. concurrency: skill runs at a time of one executor.
    personal_data: whether goals keep the names of people, or salted hashes (docs/retention.md). token_key: the URI of the
    key that signs goals' capability tokens, empty for the gateway's own (docs/contract.md).
    input_roots, write_roots: directories skills may be given to read or write. skills, playbooks,
    policies: further directories.
    """

    workspace: Token = "default"
    nats: str = ""
    durability: Literal["fast", "safe"] = "fast"
    isolation: Literal["strict", "best_effort"] = "strict"
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 4
    region: str = ""
    environment: Token = "development"
    personal_data: Literal["kept", "pseudonymous"] = "kept"
    token_key: str = ""
    input_roots: list[str] = field(default_factory=list)
    write_roots: list[str] = field(default_factory=list)
    skills: list[str] = field(default_factory=list)
    playbooks: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)
    day_limit: DayLimit = field(default_factory=DayLimit)
    kinds: Annotated[list[KindSetting], Meta(max_length=64)] = field(default_factory=lambda: [SUMMARIES])
    hops: HopLimits = field(default_factory=HopLimits)
    rates: Rates = field(default_factory=Rates)
    breaker: Breakers = field(default_factory=Breakers)
    control: Control = field(default_factory=Control)
    approvals: Approvals = field(default_factory=Approvals)
    audit: AuditSettings = field(default_factory=AuditSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    model: ModelPlanner | None = None

    @property
    def kind_quotas(self) -> list[KindQuota]:
        return sorted((one.quota for one in self.kinds), key=lambda quota: quota.kind)


def load_settings(path: Path) -> Settings:
    """The defaults if there is no file. Raises UserError with file, line and column."""
    if not path.exists() and not path.is_symlink():
        return Settings()
    data, loaded = read_yaml(path)
    try:
        settings = msgspec.convert(data or {}, Settings)
        wrong, where = kinds_problem(settings.kind_quotas), "$.kinds"
        if wrong:
            raise ValueError(wrong)
        where = "$.day_limit.cost_usd"
        settings.day_limit.amount  # noqa: B018 - a bad amount is told now
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        line, column = loaded.position(where.rstrip("`") or "$")
        where = where.rstrip("`")
        raise UserError("bad_settings", f"{path}:{line}:{column}: {what} {where}".rstrip(), exit_code=2) from error
    except ValueError as error:
        line, column = loaded.position(where)
        raise UserError("bad_settings", f"{path}:{line}:{column}: {error}", exit_code=2) from error
    return settings


def check_directories(path: Path, settings: Settings) -> None:
    """Raises UserError, naming file, line and column, for the first directory of the settings that is none."""
    problem = next(iter(directory_problems(path, settings)), None)
    if problem is not None:
        raise UserError("no_directory", problem, "Make it, or take it out", 2)


def directory_problems(path: Path, settings: Settings) -> list[str]:
    """What is wrong with the directories that the settings name: each with file, line and column."""
    named = {
        (name, index): path.parent / directory
        for name in ("skills", "playbooks", "policies", "input_roots", "write_roots")
        for index, directory in enumerate(getattr(settings, name))
    }
    absent = {place: directory for place, directory in named.items() if not directory.is_dir()}
    if not absent:
        return []
    _, loaded = read_yaml(path)
    places = [(loaded.position(f"$.{name}[{index}]"), name, at) for (name, index), at in absent.items()]
    return [f"{path}:{line}:{column}: {name}: {at} is no directory" for (line, column), name, at in places]


def read_yaml(path: Path) -> tuple[Any, Any]:
    """(value, loaded with positions). Raises UserError for what cannot be read or is no YAML."""
    try:
        loaded = load_yaml(read_file(path, MAX_BYTES), source=str(path))
    except YamlError as error:
        raise UserError("bad_yaml", str(error), exit_code=2) from error
    return loaded.value, loaded
