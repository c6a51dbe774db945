"""Streams, consumers and buckets as declared data (BUS-01). Names are short, without `. * > /` (NATS ADR-6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from interlock.bus.subject_filter import overlap
from interlock.envelope.subjects import PREFIX

MIB = 1 << 20
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# How long a message id is remembered. A receiver honours no ttl beyond max_ttl_ms (Limits), so an envelope replayed
# after this window has expired anyway: window = max_ttl_ms + 2 × skew. See docs/adr/0003.
DEDUPE_MS = HOUR_MS + 10_000


class StreamSpec(Struct, frozen=True, kw_only=True):
    """A stream. max_bytes bounds it; discard new: when full, publishers are refused rather than history lost.
    no_ack: the broker does not answer publishers; whoever handles the message does (a request then has one answer).
    heard_by: of workspaces that share the stream, whose place in its subjects is `*`, it takes only what is for those with a
    consumer of this name (`gateway` for gateway-<workspace>); see `taken`.
    """

    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    max_age_ms: int = 0
    max_message_bytes: int = MIB
    discard: Literal["new", "old"] = "new"
    dedupe_ms: int = 120_000
    deny_delete: bool = False
    deny_purge: bool = False
    max_per_subject: int = -1
    allow_schedules: bool = False
    no_ack: bool = False
    heard_by: str = ""
    direct: bool = True


class ConsumerSpec(Struct, frozen=True, kw_only=True):
    """A durable pull consumer, shared by the instances of a role. backoff_ms, where given, takes the place of
    ack_wait_ms: the n-th redelivery waits for its n-th entry. attempts: after how many deliveries that count its actor
    gives up (0: max_deliver); max_deliver is the broker's own bound, which knows nothing of halts.
    """

    stream: str
    name: str
    subjects: tuple[str, ...]
    ack_wait_ms: int = 10_000
    max_deliver: int = 8
    backoff_ms: tuple[int, ...] = ()
    max_ack_pending: int = 256
    attempts: int = 0


class BucketSpec(Struct, frozen=True, kw_only=True):
    """A key-value bucket (kind kv) or an object store (kind objects), in NATS's own layout."""

    name: str
    kind: Literal["kv", "objects"]
    history: int = 1
    max_bytes: int = 256 * MIB
    max_age_ms: int = 0


class Declarations(Struct, frozen=True, kw_only=True):
    streams: tuple[StreamSpec, ...] = ()
    consumers: tuple[ConsumerSpec, ...] = ()
    buckets: tuple[BucketSpec, ...] = ()
    replicas: int = 1


# nats-server holds every subject of a stream against every other: 25 ms for so many, 12 s for 10,000 (seen with 2.15).
MOST_TOLD_APART = 500
# Larger than any legal envelope (Limits.max_bytes), small enough that its dead letter, in base64, can be stored whole.
HOP_BYTES = 320 * 1024

GOALS = StreamSpec(
    name="GOALS",
    subjects=(f"{PREFIX}.*.goal.>",),
    max_message_bytes=HOP_BYTES,
    max_bytes=256 * MIB,
    max_age_ms=7 * DAY_MS,
    # The least there is: ids are the submitters' own and workspaces share the stream, so the same one is no repeat. What
    # is, the gateway tells by itself.
    dedupe_ms=100,
    no_ack=True,
    heard_by="gateway",
)
HOPS = StreamSpec(
    name="HOPS",
    subjects=(f"{PREFIX}.*.role.>",),
    max_bytes=4096 * MIB,
    max_message_bytes=HOP_BYTES,
    dedupe_ms=DEDUPE_MS,
    deny_delete=True,
    deny_purge=True,
)
JOURNAL = StreamSpec(
    name="JOURNAL", subjects=(f"{PREFIX}.*.journal.>",), max_bytes=4096 * MIB, deny_delete=True, deny_purge=True
)
LEDGER = StreamSpec(
    name="LEDGER", subjects=(f"{PREFIX}.*.ledger.>",), max_bytes=1024 * MIB, deny_delete=True, deny_purge=True
)
AUDIT = StreamSpec(
    name="AUDIT", subjects=(f"{PREFIX}.*.audit.>",), max_bytes=4096 * MIB, deny_delete=True, deny_purge=True
)
DEAD = StreamSpec(name="DEAD", subjects=(f"{PREFIX}.*.dead.>",), max_bytes=512 * MIB)
_ADVISORY = "$JS.EVENT.ADVISORY.CONSUMER"
GAVE_UP = f"{_ADVISORY}.MAX_DELIVERIES"
TERMINATED = f"{_ADVISORY}.MSG_TERMINATED"
# The broker tells of messages that it will not deliver again in plain messages: kept, so that nobody has to be there.
ADVISORIES = StreamSpec(
    name="ADVISORIES",
    subjects=(f"{GAVE_UP}.>", f"{TERMINATED}.>"),
    max_bytes=64 * MIB,
    max_age_ms=7 * DAY_MS,
    discard="old",
)
TIMERS = StreamSpec(
    name="TIMERS",
    subjects=(f"{PREFIX}.*.timer.>",),
    max_bytes=64 * MIB,
    discard="old",  # the broker has no schedules on streams that discard new
    allow_schedules=True,
)

STREAMS = (GOALS, HOPS, JOURNAL, LEDGER, AUDIT, DEAD, TIMERS, ADVISORIES)
BUCKETS = (
    BucketSpec(name="trust", kind="kv", history=16),
    BucketSpec(name="control", kind="kv", history=16),
    BucketSpec(name="goals", kind="kv"),
    BucketSpec(name="approvals", kind="kv", history=16),
    BucketSpec(name="contracts", kind="kv", history=64),
    BucketSpec(name="registry", kind="kv", history=16),
    BucketSpec(name="persons", kind="kv"),
    BucketSpec(name="artifacts", kind="objects", max_bytes=4096 * MIB),
    BucketSpec(name="bundles", kind="objects", max_bytes=4096 * MIB),
)
WORKER_ROLES = ("orchestrator", "evaluator", "executor", "auditor", "synthesizer")


def consumers_of(workspace: str) -> tuple[ConsumerSpec, ...]:
    """The durables of a workspace: one inbox per role; the gateway hears goals and whatever lies beside them; the
    orchestrator hears reminders that have come due, and hands on what is asked of humans; the auditor hears what the
    broker says of these, and hands on what went wrong.
    """
    return (*_working(workspace), warnings_of(workspace), advisories_of(workspace))


def _working(workspace: str) -> tuple[ConsumerSpec, ...]:
    intake = ConsumerSpec(
        stream=GOALS.name,
        name=f"gateway-{workspace}",
        subjects=(f"{PREFIX}.{workspace}.goal.>",),
        max_deliver=512,  # a gateway that dies gives no answer: its successor does, after so many attempts
        attempts=8,
    )
    inboxes = (inbox_of(workspace, role) for role in WORKER_ROLES)
    return (*inboxes, intake, timers_of(workspace), reports_of(workspace), notices_of(workspace))


def inbox_of(workspace: str, role: str) -> ConsumerSpec:
    """max_ack_pending leaves room for halted hops, which wait unanswered beside those that go on."""
    return ConsumerSpec(
        stream=HOPS.name,
        name=f"{role}-{workspace}",
        subjects=(f"{PREFIX}.{workspace}.role.{role}.>",),
        max_deliver=512,
        attempts=8,
        max_ack_pending=8_192,
    )


def timers_of(workspace: str) -> ConsumerSpec:
    """A reminder waits as long as it takes for whoever must act on it and is halted: it comes once a second or so."""
    return ConsumerSpec(
        stream=TIMERS.name,
        name=f"timers-{workspace}",
        subjects=(f"{PREFIX}.{workspace}.timer.due.approval.>",),
        max_deliver=1_000_000,
    )


def reports_of(workspace: str) -> ConsumerSpec:
    """Reminders of reports, for the auditor; what cannot be made now comes again."""
    return ConsumerSpec(
        stream=TIMERS.name,
        name=f"reports-{workspace}",
        subjects=(f"{PREFIX}.{workspace}.timer.due.report.*",),
        ack_wait_ms=600_000,
        max_deliver=1_000_000,
    )


def notices_of(workspace: str) -> ConsumerSpec:
    """What is asked of humans, for whoever tells them of it."""
    return ConsumerSpec(
        stream=HOPS.name,
        name=f"notices-{workspace}",
        subjects=(f"{PREFIX}.{workspace}.role.human.*.escalate",),
        ack_wait_ms=30_000,
    )


def warnings_of(workspace: str) -> ConsumerSpec:
    """Steps of deviations and alerts of budgets, for whoever tells people of them. What nobody takes makes no dead letter:
    it stands in AUDIT all the same.
    """
    return ConsumerSpec(
        stream=AUDIT.name,
        name=f"warnings-{workspace}",
        subjects=(f"{PREFIX}.{workspace}.audit.deviation", f"{PREFIX}.{workspace}.audit.alert.>"),
        ack_wait_ms=30_000,
    )


def advisories_of(workspace: str) -> ConsumerSpec:
    """What the broker will not deliver any more, of the workspace's other consumers. It never gives one up itself."""
    told = tuple(f"{kind}.{spec.stream}.{spec.name}" for spec in _working(workspace) for kind in (GAVE_UP, TERMINATED))
    return ConsumerSpec(stream=ADVISORIES.name, name=f"advisories-{workspace}", subjects=told, max_deliver=-1)


def taken(spec: StreamSpec, consumers: Collection[str]) -> tuple[str, ...]:
    """The subjects of a stream that has these consumers. What is for a workspace without one would lie there unheard: nobody
    takes it, and who asked is told so by the broker. Among more workspaces than MOST_TOLD_APART, or none yet, everything
    is taken.
    """
    prefix = f"{spec.heard_by}-"
    workspaces = sorted(name.removeprefix(prefix) for name in consumers if name.startswith(prefix))
    if not spec.heard_by or not 0 < len(workspaces) <= MOST_TOLD_APART:
        return spec.subjects
    return tuple(subject.replace("*", workspace, 1) for subject in spec.subjects for workspace in workspaces)


def unheard(consumers: Iterable[ConsumerSpec], subjects: Mapping[str, Sequence[str]]) -> str:
    """What is wrong with consumers of streams of which these subjects are known; empty: nothing."""
    for spec in consumers:
        for wanted in spec.subjects if spec.stream in subjects else ():
            if not any(overlap(wanted, own) for own in subjects[spec.stream]):
                return f"stream {spec.stream} does not take {wanted}"
    return ""


def declarations(workspaces: tuple[str, ...], replicas: int = 1) -> Declarations:
    """All that `interlock up` creates."""
    consumers = tuple(consumer for workspace in workspaces for consumer in consumers_of(workspace))
    return Declarations(streams=STREAMS, consumers=consumers, buckets=BUCKETS, replicas=replicas)


def kv_subject(bucket: str, key: str) -> str:
    """Where NATS keeps a key (ADR-8)."""
    return f"$KV.{bucket}.{key}"


def kv_stream(bucket: str) -> str:
    return f"KV_{bucket}"
