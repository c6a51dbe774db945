"""What each role may publish and hear at the broker (GOV-02). Pure: from the declared routes, streams and consumers.

The server's users (server_users) and docs/permissions.md are both written from here. What is not listed is refused.

Nobody but the control plane may make consumers or streams: with a consumer the broker delivers whatever a stream holds
to any subject its maker likes. What the broker still lets everybody do, and who stands against it, is in docs/security.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from msgspec import Struct

from interlock.bus.authority import AUTHORITY
from interlock.bus.jetstream.login import inbox_prefix
from interlock.bus.streams import (
    AUDIT,
    BUCKETS,
    DEAD,
    GOALS,
    HOPS,
    JOURNAL,
    LEDGER,
    TIMERS,
    WORKER_ROLES,
    ConsumerSpec,
    consumers_of,
)
from interlock.envelope.ids import role_of
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.verdict import Reason

ADMIN = "admin"
RUNNING_ROLES = ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer")
USER_ROLES = (*RUNNING_ROLES, "human", ADMIN)
_GET = "$JS.API.DIRECT.GET"


class Access(Struct, frozen=True, kw_only=True):
    """What a role does with the broker. Subjects stand under `interlock.<workspace>.` unless they begin with `$`.

    writes: published to. lasts: (stream, subject) of which the last message is read. reads: streams read in full.
    hears: plain messages listened to. answers: roles into whose inboxes it answers. pulls: consumers besides the one that
    is named after the role.
    """

    writes: tuple[str, ...] = ()
    lasts: tuple[tuple[str, str], ...] = ()
    reads: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    pulls: tuple[str, ...] = ()


class Grants(Struct, frozen=True):
    """The subjects of one user, sorted."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def _kv(*buckets: str) -> tuple[str, ...]:
    return tuple(f"KV_{bucket}" for bucket in buckets)


_EVERY_KV = tuple(f"KV_{spec.name}" for spec in BUCKETS if spec.kind == "kv")
_EVERY_OBJECT = tuple(f"OBJ_{spec.name}" for spec in BUCKETS if spec.kind == "objects")
_EVERY_STREAM = (HOPS.name, JOURNAL.name, LEDGER.name, DEAD.name, AUDIT.name)
_PUT_ARTIFACT = ("$O.artifacts.C.*", "$O.artifacts.M.*")
_PUT_BUNDLE = ("$O.bundles.C.*", "$O.bundles.M.*")
# A human may put back whatever anybody's dead letter holds; receivers believe who signed it, not who published it.
_ROUTES = tuple(sorted({f"role.{to}.*.{intent}" for _, to, intent in AUTHORITY}))
_HALT = ("control.halt", "$KV.control.{workspace}.>", "$KV.control._all.{workspace}")

# What every role follows: who is trusted, what is halted, which contract is in force. That nothing is halted is asked of
# the leader (docs/halts.md); the answer comes to the asker's own inbox.
_FOLLOWED = Access(
    writes=("$JS.API.STREAM.MSG.GET.KV_control",),
    reads=_kv("trust", "control", "contracts"),
    hears=("$KV.trust.>", "$KV.control.>", "$KV.contracts.>", "control.>"),
)
# Discovery as NATS services have it (ADR-32), and which traces are to be kept whole (docs/telemetry.md).
_KEEP = "telemetry.keep"
_DISCOVER = ("$SRV.PING.>", "$SRV.INFO.>", "$SRV.STATS.>", "$SRV.PING", "$SRV.INFO", "$SRV.STATS")
# Where people tell recorded hops again; no role listens there and no stream stores it (`interlock replay --to`).
SANDBOX = "interlock-replay.>"
ACCESS: dict[str, Access] = {
    "gateway": Access(
        writes=("ledger.>", "$KV.persons.{workspace}.*"),
        reads=(LEDGER.name, *_kv("persons")),
        hears=("goal.>", "request.ledger", "role.human.*.complete"),
        answers=("human", "executor"),
    ),
    "orchestrator": Access(
        writes=(
            "journal.goal.*",
            "timer.set.>",
            "$KV.goals.{workspace}.*",
            "$KV.approvals.{workspace}.>",
            *_HALT,
        ),
        reads=(JOURNAL.name, *_kv("goals", "approvals")),
        pulls=("timers", "notices"),
    ),
    "evaluator": Access(),
    "executor": Access(
        writes=("journal.effect.*", "request.ledger", *_PUT_ARTIFACT),
        lasts=((JOURNAL.name, "journal.effect.*"),),
        reads=("OBJ_artifacts",),
    ),
    "auditor": Access(
        writes=(
            "audit.>",
            "timer.set.report.*",
            "goal.submit",
            *(f"dead.*.{reason}" for reason in (Reason.MAX_DELIVERIES, Reason.TERMINATED)),
            "$KV.goals.{workspace}.*.audit",
            *_PUT_ARTIFACT,
            *_PUT_BUNDLE,
            *_HALT,
        ),
        reads=(*_EVERY_STREAM, GOALS.name, TIMERS.name, *_EVERY_KV, *_EVERY_OBJECT),
        hears=("role.>", "journal.>", "ledger.>", "dead.>", "audit.>", "$KV.>"),
        pulls=("advisories", "warnings", "reports"),
    ),
    "synthesizer": Access(writes=_PUT_ARTIFACT, reads=("OBJ_artifacts",)),
    "human": Access(
        writes=(
            "goal.submit",
            "audit.statement",
            *_ROUTES,
            "dead.human.redriven",
            "request.ping.>",
            *_DISCOVER,
            "control.*",
            "$KV.control.{workspace}.>",
            "$KV.control._all.{workspace}",
            "$JS.API.STREAM.INFO.*",
            "$JS.API.CONSUMER.INFO.*.*",
            SANDBOX,
        ),
        reads=(*_EVERY_STREAM, *_EVERY_KV, *_EVERY_OBJECT),
        hears=("role.>", "journal.>", "ledger.>", "dead.>", "audit.>", "$KV.>"),
    ),
    ADMIN: Access(
        writes=(
            "request.ping.>",
            "$JS.API.STREAM.CREATE.*",
            "$JS.API.STREAM.UPDATE.*",
            "$JS.API.STREAM.INFO.*",
            "$JS.API.STREAM.PURGE.DEAD",
            "$JS.API.STREAM.PURGE.OBJ_bundles",
            "$JS.API.STREAM.PURGE.KV_persons",
            "$JS.API.CONSUMER.CREATE.>",
            f"$JS.API.CONSUMER.NAMES.{GOALS.name}",
            "$JS.API.CONSUMER.INFO.*.*",
            "$KV.trust.{workspace}",
            "$KV.contracts.{workspace}",
            "$KV.contracts.{workspace}.>",
        ),
    ),
}


def grants(user: str, workspace: str, users: Iterable[str] = USER_ROLES) -> Grants:
    """The permissions of a user: `role`, or `role.instance` where the instance has a key of its own. users: everybody
    who is enrolled, since answers go to their inboxes.
    """
    role = role_of(user)
    place = partial(_placed, workspace)
    access = ACCESS[role]
    publish = {place(subject) for part in (_FOLLOWED, access) for subject in part.writes}
    subscribe = {place(subject) for part in (_FOLLOWED, access) for subject in part.hears}
    for part in (_FOLLOWED, access):
        publish |= {f"{_GET}.{stream}{tail}" for stream in part.reads for tail in ("", ".>")}
        publish |= {f"{_GET}.{stream}.{place(subject)}" for stream, subject in part.lasts}
    if role in WORKER_ROLES:  # that a halt, not a failure, used up a delivery
        held = place(f"journal.held.{role}.*")
        publish |= {held, f"{_GET}.{JOURNAL.name}.{held}"}
    for route in routes(role):
        publish |= {place(route), f"{_GET}.{HOPS.name}.{place(route)}"}
    for consumer in pulled_by(role, workspace):
        publish |= set(_pulling(consumer))
    answered = {*access.answers, *(("human", ADMIN) if role in RUNNING_ROLES else ())}
    publish |= {f"{inbox_prefix(other)}.>" for other in users if role_of(other) in answered}
    if role in RUNNING_ROLES:
        publish.add(place(f"dead.{role}.*"))
        subscribe |= {place(f"request.ping.{role}"), place(f"request.ping.{role}.*")}
        for verb in ("PING", "INFO", "STATS"):
            subscribe |= {f"$SRV.{verb}", f"$SRV.{verb}.interlock-{role}", f"$SRV.{verb}.interlock-{role}.*"}
        publish.add(place(_KEEP))
        subscribe.add(place(_KEEP))
    subscribe.add(f"{inbox_prefix(user)}.>")
    return Grants(tuple(sorted(publish)), tuple(sorted(subscribe)))


def pulled_by(role: str, workspace: str) -> list[ConsumerSpec]:
    """The durables on which a role works, its own inbox first."""
    names = (role, *ACCESS[role].pulls)
    found = {consumer.name.removesuffix(f"-{workspace}"): consumer for consumer in consumers_of(workspace)}
    return [found[name] for name in names if name in found]


def routes(role: str) -> list[str]:
    """Where a role's envelopes go: `role.<to>.<any goal>.<intent>`, as bus.authority has it."""
    return sorted({f"role.{to}.*.{intent}" for sender, to, intent in AUTHORITY if sender == role})


def _placed(workspace: str, subject: str) -> str:
    if subject.startswith("$") or subject == SANDBOX:
        return subject.format(workspace=workspace)
    return workspace_subject(workspace, subject)


def _pulling(consumer: ConsumerSpec) -> tuple[str, ...]:
    """To ask a durable for messages and how many wait, and to answer them; acknowledgements have two forms (NATS ADR-15)."""
    stream, name = consumer.stream, consumer.name
    return (
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}",
        f"$JS.API.CONSUMER.INFO.{stream}.{name}",
        f"$JS.ACK.{stream}.{name}.>",
        f"$JS.ACK.*.*.{stream}.{name}.>",
    )
