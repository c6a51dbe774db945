"""The rows of docs/permissions.md: every kind of thing a client can ask of the broker, by the subject it takes."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from interlock.bus.jetstream.login import inbox_prefix
from interlock.bus.permissions import USER_ROLES
from interlock.bus.streams import BUCKETS, STREAMS, WORKER_ROLES, consumers_of
from interlock.envelope.subjects import INTENTS, ROLES

W = "interlock.w"
GOAL = "01a1fd22-f39d-7fc3-88a8-d2ea2d34d7e1"


class Row(Struct, frozen=True):
    """One line of a table. cells: (what a cell says when it is allowed, the subject); verb: pub or sub."""

    title: str
    verb: str
    cells: tuple[tuple[str, str], ...]


def one(title: str, subject: str, verb: str = "pub") -> Row:
    return Row(title, verb, (("yes", subject),))


def tables() -> Iterator[tuple[str, list[Row]]]:
    yield (
        "Envelopes: which intents to whom",
        [
            Row(f"to {to}", "pub", tuple((intent, f"{W}.role.{to}.{GOAL}.{intent}") for intent in INTENTS))
            for to in ROLES
        ],
    )
    yield "Other messages", list(messages())
    yield "Consumers", list(consumers())
    yield "Listening", list(listening())
    yield "Reading back", list(reading())
    yield "Writing", list(writing())
    yield "Management", list(management())


def messages() -> Iterator[Row]:
    yield one("submit a goal", f"{W}.goal.submit")
    yield one("ask the ledger", f"{W}.request.ledger")
    yield one("ask an agent whether it is there", f"{W}.request.ping.executor")
    yield one("ask which services there are", "$SRV.PING")
    yield one("say which trace is to be kept", f"{W}.telemetry.keep")
    yield one("announce a halt", f"{W}.control.halt")
    yield one("announce a resume", f"{W}.control.resume")
    for role in USER_ROLES:
        yield one(f"answer into the inbox of {role}", f"{inbox_prefix(role)}.a.b")
    yield one("answer into anybody's inbox", "_INBOX.a.b")
    yield one("tell recorded hops again in a sandbox", f"interlock-replay.trial.w.role.evaluator.{GOAL}.plan")
    yield one("speak in another workspace", f"interlock.other.role.evaluator.{GOAL}.observe")


def consumers() -> Iterator[Row]:
    for spec in consumers_of("w"):
        yield one(f"pull from {spec.name}", f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.name}")
        yield one(f"ask how many wait for {spec.name}", f"$JS.API.CONSUMER.INFO.{spec.stream}.{spec.name}")
        yield one(f"acknowledge for {spec.name}", f"$JS.ACK.{spec.stream}.{spec.name}.1.1.1.1.1")


def listening() -> Iterator[Row]:
    for role in USER_ROLES:
        yield one(f"hear the inbox of {role}", f"{inbox_prefix(role)}.>", "sub")
    for title, subject in (
        ("hear everybody's inbox", "_INBOX.>"),
        ("hear everything", ">"),
        ("hear every envelope", f"{W}.role.>"),
        ("hear the executor's envelopes", f"{W}.role.executor.>"),
        ("hear goals handed in", f"{W}.goal.submit"),
        ("hear journals", f"{W}.journal.>"),
        ("hear balances", f"{W}.ledger.>"),
        ("hear halts", f"{W}.control.>"),
        ("hear the trust store", "$KV.trust.>"),
        ("pose as the ledger", f"{W}.request.ledger"),
        ("hear the broker's own events", "$SYS.>"),
        ("hear advisories", "$JS.EVENT.>"),
        ("hear which traces are kept", f"{W}.telemetry.keep"),
        *((f"answer pings as {role}", f"{W}.request.ping.{role}") for role in ROLES),
        *((f"be discovered as {role}", f"$SRV.INFO.interlock-{role}") for role in ROLES),
    ):
        yield one(title, subject, "sub")


def reading() -> Iterator[Row]:
    names = [spec.name for spec in STREAMS]
    names += [f"{'KV' if spec.kind == 'kv' else 'OBJ'}_{spec.name}" for spec in BUCKETS]
    for name in names:
        yield one(f"read {name}", f"$JS.API.DIRECT.GET.{name}")
    for to in ROLES:
        last = ((intent, f"$JS.API.DIRECT.GET.HOPS.{W}.role.{to}.{GOAL}.{intent}") for intent in INTENTS)
        yield Row(f"read the last envelope to {to}", "pub", tuple(last))
    yield one("read an effect's last record", f"$JS.API.DIRECT.GET.JOURNAL.{W}.journal.effect.{GOAL}")
    yield one("read a goal's last record", f"$JS.API.DIRECT.GET.JOURNAL.{W}.journal.goal.{GOAL}")
    yield one("read through the leader", "$JS.API.STREAM.MSG.GET.HOPS")
    yield one("ask the leader what is halted", "$JS.API.STREAM.MSG.GET.KV_control")


def writing() -> Iterator[Row]:
    for title, subject in (
        ("write LEDGER", f"{W}.ledger.goal.{GOAL}"),
        ("write AUDIT", f"{W}.audit.refusal"),
        ("say that a deviation is resolved", f"{W}.audit.statement"),
        ("write a goal's journal", f"{W}.journal.goal.{GOAL}"),
        ("write an effect's journal", f"{W}.journal.effect.{GOAL}"),
        ("set a reminder", f"{W}.timer.set.approval.{GOAL}"),
        ("pretend that a reminder is due", f"{W}.timer.due.approval.{GOAL}"),
        *((f"bury a dead letter as {role}", f"{W}.dead.{role}.expired") for role in ROLES),
        ("note that a dead letter was put back", f"{W}.dead.human.redriven"),
        ("bury what the broker gave up", f"{W}.dead.executor.max_deliveries"),
        *((f"write KV {bucket}", f"$KV.{bucket}.w.a") for bucket in ("control", "approvals", "contracts", "registry")),
        ("halt everything", "$KV.control._all.w"),
        ("halt another workspace's everything", "$KV.control._all.other"),
        *((f"excuse a delivery to {role}", f"{W}.journal.held.{role}.1") for role in WORKER_ROLES),
        ("write KV trust", "$KV.trust.w"),
        ("write another workspace's trust", "$KV.trust.other"),
        ("write a goal's status", f"$KV.goals.w.{GOAL}"),
        ("write the audit of a goal", f"$KV.goals.w.{GOAL}.audit"),
        ("store an artefact", "$O.artifacts.M.abc"),
        ("store a bundle", "$O.bundles.M.abc"),
    ):
        yield one(title, subject)


def management() -> Iterator[Row]:
    for verb in ("INFO", "CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN"):
        yield one(f"stream {verb.lower()}", f"$JS.API.STREAM.{verb}.HOPS")
    for name in ("DEAD", "OBJ_bundles", "OBJ_artifacts"):
        yield one(f"purge {name}", f"$JS.API.STREAM.PURGE.{name}")
    for verb in ("STREAM.LIST", "STREAM.NAMES", "INFO"):
        yield one(verb.lower(), f"$JS.API.{verb}")
    for verb in ("INFO", "CREATE", "DELETE", "PAUSE", "UNPIN", "LEADER.STEPDOWN"):
        yield one(f"consumer {verb.lower()}", f"$JS.API.CONSUMER.{verb}.HOPS.executor-w")
    yield one("make a reader of HOPS", f"$JS.API.CONSUMER.CREATE.HOPS.mine.{W}.role.executor.>")
    yield one("make a durable the old way", "$JS.API.CONSUMER.DURABLE.CREATE.HOPS.mine")
    yield one("list consumers", "$JS.API.CONSUMER.NAMES.HOPS")
    yield one("list which workspaces hear goals", "$JS.API.CONSUMER.NAMES.GOALS")
    yield one("ask the broker about itself", "$SYS.REQ.SERVER.PING")
