"""`interlock audit purge`: what the contract no longer asks to keep."""

from __future__ import annotations

from interlock.agents.audit.log.purge import due_letters, note_purge, purge_letters
from interlock.agents.audit.log.recorder import LogBroken, Recorder
from interlock.agents.cli.persons import forget
from interlock.agents.cli.session import Session
from interlock.agents.contract.store import load_contract
from interlock.agents.errors import UserError
from interlock.agents.intake.persons import Persons
from interlock.agents.workspace.keys import load_key
from interlock.bus.objects import purge_objects
from interlock.bus.permissions import ADMIN
from interlock.bus.streams import DAY_MS
from interlock.bus.transport import Message

AUDITOR = "auditor"


async def purge(session: Session) -> int:
    """Dead letters, signature logs and salts older than contract.evidence says. Exit 0 done, 1 the log could not be written."""
    evidence = load_contract(session.layout).head.contract.evidence
    key = load_key(session.layout, AUDITOR)
    async with (
        session.connected(agent="human") as reader,
        session.connected(agent=AUDITOR) as writer,
        session.connected(agent=ADMIN) as admin,
    ):
        now_ms = reader.clock.now_ms()
        due = await due_letters(reader, session.workspace, now_ms - evidence.decision_days * DAY_MS)
        if due.letters:
            recorder = Recorder(writer, session.workspace, key, observe=_unseen, memory=session.checkpoint)
            try:
                await note_purge(recorder, due, AUDITOR)
            except LogBroken as error:
                raise UserError("log_broken", str(error), "`interlock audit check` shows where") from error
            await purge_letters(admin, session.workspace, due)
        before_ms = now_ms - evidence.signature_log_days * DAY_MS
        logs = await purge_objects(admin, "bundles", f"signatures-{session.workspace}-", before_ms, reader=reader)
        old_ms = now_ms - evidence.decision_days * DAY_MS
        unused = [(one, place) for one, place in await Persons(reader, session.workspace).all() if one.used_ms < old_ms]
        if unused:
            await forget(session, reader, unused, f"in no goal for {evidence.decision_days} days")
    told = f"{due.letters} dead letters older than {evidence.decision_days} days"
    session.say(
        f"purged {told}, {logs} signature logs older than {evidence.signature_log_days} days, "
        f"salts of {len(unused)} persons",
        {"deadLetters": due.letters, "before": due.before, "signatureLogs": logs, "persons": len(unused)},
    )
    return 0


async def _unseen(message: Message) -> str:
    return "not_judged"
