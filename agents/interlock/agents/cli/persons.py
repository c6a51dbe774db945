"""`interlock audit persons | forget`: whose pseudonyms can be resolved, and dropping a person's salt for good."""

from __future__ import annotations

from interlock.agents.audit.log.purge import FORGOTTEN, noted
from interlock.agents.audit.log.recorder import LogBroken, Recorder
from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.agents.intake.persons import Person, Persons
from interlock.agents.workspace.keys import load_key
from interlock.bus.permissions import ADMIN
from interlock.bus.transport import Message, Transport
from interlock.envelope.amounts import timestamp

AUDITOR = "auditor"


async def list_persons(session: Session) -> int:
    """Everybody with a salt, by name."""
    async with session.connected(offline=True) as transport:
        found = await Persons(transport, session.workspace).all()
    people = sorted((person for person, _ in found), key=lambda person: person.name)
    lines = [f"{person.pseudonym}  {person.name}  last in a goal {timestamp(person.used_ms)[:10]}" for person in people]
    value = [{"pseudonym": one.pseudonym, "name": one.name, "usedAt": timestamp(one.used_ms)} for one in people]
    session.say("\n".join(lines) or "no person has a salt (docs/retention.md)", value)
    return 0


async def forget_person(session: Session, name: str) -> int:
    """name: of the person, or the pseudonym. Exit 0 forgotten, 2 nobody of that name has a salt."""
    async with session.connected() as reader:
        found = await Persons(reader, session.workspace).all()
        chosen = [(person, place) for person, place in found if name in (person.name, person.pseudonym)]
        if not chosen:
            mend = "`interlock audit persons` lists them"
            raise UserError("unknown_person", f"there is no salt of {name[:80]!r}", mend, 2)
        await forget(session, reader, chosen, "asked for")
    pseudonym = chosen[0][0].pseudonym
    session.say(f"{pseudonym} can be resolved by nobody any more", {"forgotten": pseudonym})
    return 0


async def forget(session: Session, reader: Transport, chosen: list[tuple[Person, int]], why: str) -> None:
    """Notes each in the audit log, by pseudonym, and drops its salt. Raises UserError, BusError."""
    persons, key = Persons(reader, session.workspace), load_key(session.layout, AUDITOR)
    async with session.connected(agent=AUDITOR) as writer, session.connected(agent=ADMIN) as admin:
        recorder = Recorder(writer, session.workspace, key, observe=_unseen, memory=session.checkpoint)
        for person, revision in chosen:
            facts = {"event": FORGOTTEN, "person": person.pseudonym, "why": why, "by": AUDITOR}
            try:
                await noted(recorder, facts)
            except LogBroken as error:
                raise UserError("log_broken", str(error), "`interlock audit check` shows where") from error
            await persons.drop(person, revision, admin)


async def _unseen(message: Message) -> str:
    return "not_judged"
