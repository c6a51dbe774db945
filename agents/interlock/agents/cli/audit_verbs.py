"""The verbs of the audit log and of bundles and their arguments; the work is in auditing.py and audit_log.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import anyio
from cyclopts import App, Parameter

from interlock.agents.cli.parameters import Dir, Json, Nats, Out
from interlock.agents.cli.session import Session

audit = App(name="audit", help="The audit log over all streams, and bundles: the offline-verifiable record of a goal.")


@audit.command(name="bundle")
def audit_bundle(
    goal: str,
    *,
    key: Annotated[
        str, Parameter(help="Key URI to sign with: file:, awskms:, gcpkms:, hashivault:; default: the auditor's file.")
    ] = "",
    out: Out = None,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Write the offline-verifiable record of a goal."""
    from interlock.agents.cli.auditing import write_bundle

    return anyio.run(write_bundle, Session(dir, nats, json), goal, key, out)


@audit.command(name="check")
def audit_check(
    *,
    witness: Annotated[Path | None, Parameter(help="A checkpoint kept elsewhere, to hold the log against.")] = None,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Hold the live streams against the audit log. Exit 0 as recorded, 2 something is missing, changed or inserted."""
    from interlock.agents.cli.audit_log import check

    return anyio.run(check, Session(dir, nats, json), witness)


@audit.command(name="checkpoint")
def audit_checkpoint(*, out: Out = None, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """The last signed root of the audit log: for a witness to keep."""
    from interlock.agents.cli.audit_log import checkpoint

    return anyio.run(checkpoint, Session(dir, nats, json), out)


@audit.command(name="prove")
def audit_prove(
    record: str = "",
    *,
    since: Annotated[Path | None, Parameter(help="A checkpoint kept elsewhere, that the log must go on from.")] = None,
    out: Out = None,
    dir: Dir = None,
    nats: Nats = "",
    json: Json = False,
) -> int:
    """Prove that a RECORD (number, STREAM:SEQUENCE or a hop's id) is in the signed log, or with --since that the log goes
    on from an earlier checkpoint; `audit verify` checks either.
    """
    from interlock.agents.cli.audit_log import prove, prove_since
    from interlock.agents.errors import UserError

    if bool(record) == (since is not None):
        raise UserError("bad_usage", "give a record, or --since CHECKPOINT", "See `interlock audit prove --help`", 2)
    if since is not None:
        return anyio.run(prove_since, Session(dir, nats, json), since, out)
    return anyio.run(prove, Session(dir, nats, json), record, out)


@audit.command(name="verify")
def audit_verify(
    file: Path,
    *,
    root: Annotated[tuple[str, ...], Parameter(negative="", help="Public root key to trust; repeatable.")] = (),
    dir: Dir = None,
    json: Json = False,
) -> int:
    """Verify a bundle, or the proof of a record, with no network and no NATS. Exit 0 valid, 2 invalid, 1 unreadable."""
    from interlock.agents.cli.auditing import verify_file

    return verify_file(Session(dir, "", json), file, root)


@audit.command(name="persons")
def audit_persons(*, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """Whose pseudonyms in goals can be resolved (`personal_data: pseudonymous`)."""
    from interlock.agents.cli.persons import list_persons

    return anyio.run(list_persons, Session(dir, nats, json))


@audit.command(name="forget")
def audit_forget(person: str, *, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """Drop the salt of a PERSON (name or pseudonym): nobody can tell any more who it was. The audit log says so."""
    from interlock.agents.cli.persons import forget_person

    return anyio.run(forget_person, Session(dir, nats, json), person)


@audit.command(name="purge")
def audit_purge(*, dir: Dir = None, nats: Nats = "", json: Json = False) -> int:
    """Remove what the contract no longer asks to keep: dead letters, signature logs, salts. The audit log says so and stays."""
    from interlock.agents.cli.purging import purge

    return anyio.run(purge, Session(dir, nats, json))
