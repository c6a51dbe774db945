"""`interlock keys new | list | rotate | revoke`.

A rotation, and what a crash in between leaves
1. the new key is enrolled beside the old, and the broker lets it in: two good keys, the old one in use;
2. every role that runs says that it knows: then nobody refuses what the new key signs;
3. the key file is replaced, and the role takes it over without stopping: two good keys, the new one in use;
4. the old key's time ends after the longest ttl: nothing that it signed is alive by then.
Asked again, a rotation begins anew; the keys it leaves behind end by themselves or by `keys revoke`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing

import anyio
import msgspec
from msgspec import Struct

from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.agents.presence import Presence, ping_subject
from interlock.agents.workspace.broker import reload_server, write_users
from interlock.agents.workspace.keys import (
    BACKDATED_MS,
    CAPABILITIES,
    TRUST_LEVELS,
    VALID_MS,
    load_roots,
    load_trust,
    root_keys,
    write_private,
)
from interlock.agents.workspace.trust_source import publish_trust
from interlock.bus.errors import NotFound, Unavailable
from interlock.bus.permissions import ADMIN, RUNNING_ROLES, USER_ROLES
from interlock.bus.streams import HOPS
from interlock.bus.transport import Transport
from interlock.envelope.amounts import clock_ms, time_ms
from interlock.envelope.capability_token import ISSUER_AGENT
from interlock.envelope.ids import is_agent_id, role_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import AgentRecord, KeyRecord, TrustStore, sign_store
from interlock.envelope.trust_changes import UnknownKey, ended, enrolled, good_keys, revoked

SPREAD_S = 60.0
ASK_MS = 500
MAX_WHY = 500
ISSUING = f"`interlock keys new {ISSUER_AGENT} --key hashivault:NAME`"


class Listed(Struct, frozen=True, rename="camel"):
    """state: good, not_yet, ended or revoked."""

    agent: str
    key_id: str
    state: str
    not_before: str
    not_after: str
    why: str = ""


def list_keys(session: Session) -> int:
    now_ms = clock_ms()
    store = load_trust(session.layout).store
    listed = [
        Listed(record.agent, key.key_id, state_of(key, now_ms), key.not_before, key.not_after, key.revoked_why)
        for record in store.agents
        for key in record.keys
    ]
    lines = [
        f"{one.agent:<14} {one.key_id}  {one.state:<8} until {one.not_after}  {one.why}".rstrip() for one in listed
    ]
    session.say("\n".join([f"trust store version {store.version}", *lines]), msgspec.to_builtins(listed))
    return 0


def state_of(key: KeyRecord, now_ms: int) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if now_ms >= time_ms(key.not_after):
        return "ended"
    return "not_yet" if now_ms < time_ms(key.not_before) else "good"


async def new_key(session: Session, agent: str, capabilities: Sequence[str], uri: str = "") -> int:
    """uri: of a key in a key store, for the issuer of tokens; everybody else's is made and kept here."""
    _check_agent(agent)
    if (agent == ISSUER_AGENT) != bool(uri):
        raise UserError("bad_usage", f"{ISSUER_AGENT}, and nobody else, has its key in a key store", ISSUING, 2)
    now_ms = clock_ms()
    store = load_trust(session.layout).store
    if good_keys(store, agent, now_ms):
        raise UserError("already_enrolled", f"{agent} has a good key", f"`interlock keys rotate {agent}`", 2)
    if uri:
        from interlock.agents.intake.issuing import issuer_key

        stored = issuer_key(uri)
        await _publish(session, _with_new(session, store, agent, stored.key_id, capabilities))
        told = (
            f"{agent} signs with {stored.key_id}, which stays where it is; token_key: {uri} in interlock.yaml uses it"
        )
        session.say(told, {"agent": agent, "keyId": stored.key_id})
        return 0
    key = SigningKey.generate()
    await _publish(session, _with_new(session, store, agent, key.key_id, capabilities))
    _replace_file(session, agent, key)
    session.say(f"{agent} signs with {key.key_id}", {"agent": agent, "keyId": key.key_id})
    return 0


async def rotate_key(session: Session, agent: str, overlap_ms: int) -> int:
    if agent == ADMIN:
        return _rotate_admin(session)
    _check_agent(agent)
    if agent == ISSUER_AGENT:
        raise UserError("bad_usage", f"{agent} has its key in a key store", f"`keys revoke` it, then {ISSUING}", 2)
    store = load_trust(session.layout).store
    old = good_keys(store, agent, clock_ms())
    if not old:
        raise UserError("not_enrolled", f"{agent} has no good key", f"`interlock keys new {agent}`", 2)
    hops = session.settings.hops
    overlap_ms = hops.max_ttl_ms + 2 * hops.skew_ms if overlap_ms < 0 else overlap_ms
    key = SigningKey.generate()
    store = _with_new(session, store, agent, key.key_id, ())
    await _publish(session, store)
    _replace_file(session, agent, key)
    await _taken_over(session, agent, key.key_id)
    now_ms = clock_ms()
    for record in old:
        store = ended(store, record.key_id, now_ms=now_ms, at_ms=now_ms + overlap_ms)
    await _publish(session, store)
    told = f"{agent} signs with {key.key_id}; {len(old)} old key(s) end in {overlap_ms / 1000:.0f} s"
    session.say(told, {"agent": agent, "keyId": key.key_id, "ending": [record.key_id for record in old]})
    return 0


async def revoke_key(session: Session, key_id: str, why: str) -> int:
    if not why.strip() or len(why) > MAX_WHY:
        raise UserError("bad_usage", f"a reason of 1 to {MAX_WHY} letters is needed", "Give --why", 2)
    store = load_trust(session.layout).store
    try:
        store = revoked(store, key_id, why, now_ms=clock_ms())
    except UnknownKey as error:
        raise UserError("unknown_key", f"no agent has the key {key_id[:60]!r}", "`interlock keys list`", 2) from error
    await _publish(session, store)
    agent = next(record.agent for record in store.agents for key in record.keys if key.key_id == key_id)
    rest = len(good_keys(store, agent, clock_ms()))
    mend = "" if rest else f"; {agent} has no good key left: `interlock keys new {agent}`"
    signed = await _signed_by(session, key_id)
    lines = [f"{key_id} of {agent} is revoked{mend}", *(f"  it signed {n} hops of goal {goal}" for goal, n in signed)]
    value = {"agent": agent, "keyId": key_id, "goodKeysLeft": rest, "signed": dict(signed)}
    session.say("\n".join(lines), value)
    return 0


async def _signed_by(session: Session, key_id: str) -> list[tuple[str, int]]:
    """Goals with the number of their hops that the key signed, the oldest first; nothing where there is no store."""
    found: Counter[str] = Counter()
    mark = f'"keyId":"{key_id}"'.encode()
    try:
        async with session.connected(offline=True) as transport:
            hops = transport.read(HOPS.name, [workspace_subject(session.workspace, "role", ">")])
            async with aclosing(hops) as messages:
                async for message in messages:
                    if mark in message.data and _signer(message.data) == key_id:
                        found[message.subject.split(".")[4]] += 1
    except (UserError, NotFound):
        return []
    return list(found.items())


class _Signed(Struct, rename="camel"):
    key_id: str


def _signer(wire: bytes) -> str:
    """By its own word; an envelope may also carry what other keys attest."""
    try:
        return msgspec.json.decode(wire, type=_Signed).key_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _rotate_admin(session: Session) -> int:
    layout = session.layout
    if not layout.is_secure:
        raise UserError("not_secured", "an open workspace has no admin", "`interlock init --secure`", 2)
    key = SigningKey.generate()
    _replace_file(session, ADMIN, key)
    write_users(layout)
    reload_server(layout)
    session.say(f"{ADMIN} logs in with {key.key_id}", {"agent": ADMIN, "keyId": key.key_id})
    return 0


def _check_agent(agent: str) -> None:
    if not is_agent_id(agent) or role_of(agent) not in USER_ROLES or role_of(agent) == ADMIN:
        raise UserError("unknown_role", f"there is no role `{agent[:80]}`", f"Roles: {', '.join(USER_ROLES)}", 2)


def _with_new(session: Session, store: TrustStore, agent: str, key_id: str, capabilities: Sequence[str]) -> TrustStore:
    now_ms, role = clock_ms(), role_of(agent)
    record = AgentRecord(
        agent=agent,
        keys=[],
        capabilities=list(capabilities) or CAPABILITIES.get(role, []),
        trust_level=TRUST_LEVELS.get(role, 50),
    )
    return enrolled(store, record, key_id, now_ms=now_ms, from_ms=now_ms - BACKDATED_MS, until_ms=now_ms + VALID_MS)


async def _publish(session: Session, store: TrustStore) -> None:
    """Signed, on disk, let in by the broker, published, known to every role that runs. Raises UserError."""
    layout = session.layout
    data = sign_store(store, root_keys(layout))
    write_private(layout.trust, data)
    if layout.is_secure and write_users(layout):
        reload_server(layout)
    if not session.nats and layout.running() is None:
        return
    async with session.connected(agent=ADMIN) as transport:
        await publish_trust(transport, session.workspace, data, load_roots(layout))
        await _all_know(transport, session.workspace, store.version)


async def _all_know(transport: Transport, workspace: str, version: int) -> None:
    """Every role that answers has this version of the trust store."""
    behind = list(RUNNING_ROLES)
    with anyio.move_on_after(SPREAD_S):
        while behind:
            found = [await _asked(transport, workspace, agent) for agent in behind]
            behind = [one.agent for one in found if one is not None and one.trust_version < version]
            if behind:
                await anyio.sleep(0.05)
    if behind:
        raise UserError(
            "not_spread", f"{', '.join(behind)} did not hear of it within {SPREAD_S:.0f} s", "See their logs"
        )


async def _taken_over(session: Session, agent: str, key_id: str) -> None:
    """The role that runs signs with the new key."""
    if role_of(agent) not in RUNNING_ROLES or (not session.nats and session.layout.running() is None):
        return
    async with session.connected(agent=ADMIN) as transport:
        await _until(transport, session.workspace, agent, lambda found: found.key_id == key_id)


async def _until(transport: Transport, workspace: str, agent: str, done: Callable[[Presence], bool]) -> None:
    with anyio.move_on_after(SPREAD_S):
        while (found := await _asked(transport, workspace, agent)) is not None and not done(found):
            await anyio.sleep(0.05)
        return
    raise UserError("not_spread", f"{agent} did not take its new key within {SPREAD_S:.0f} s", "See its log")


async def _asked(transport: Transport, workspace: str, agent: str) -> Presence | None:
    """What the agent says of itself; None if it does not run."""
    try:
        answer = await transport.request(ping_subject(workspace, agent), b"", timeout_ms=ASK_MS)
    except Unavailable:
        return None
    return msgspec.json.decode(answer.data, type=Presence)


def _replace_file(session: Session, agent: str, key: SigningKey) -> None:
    write_private(session.layout.key(agent), (key.seed_text() + "\n").encode())
