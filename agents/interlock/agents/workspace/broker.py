"""The broker's side of a secured workspace: its users' file, the keys to log in with, how the server is told of changes."""

from __future__ import annotations

import json
import os
import signal

from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import load_key, load_trust, made_key, write_private
from interlock.agents.workspace.layout import Layout
from interlock.bus.jetstream.login import Login
from interlock.bus.permissions import ADMIN, USER_ROLES
from interlock.bus.server.users import User, server_config, users_config
from interlock.envelope.amounts import clock_ms, time_ms
from interlock.envelope.ids import role_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import TrustStore


def secure(layout: Layout) -> None:
    """From now on the workspace's broker knows its users, and lets nobody else in. Needs keys and trust store."""
    try:
        layout.broker.mkdir(mode=0o700, parents=True, exist_ok=True)
        made_key(layout.key(ADMIN), "U")
        whole = server_config(layout.users.name, os.path.relpath(layout.store, layout.broker))
        write_private(layout.broker / "nats-server.conf", whole.encode())
        write_users(layout)
    except OSError as error:
        raise UserError("not_writable", f"{layout.broker}: {error.strerror}", "Choose another directory") from error


def write_users(layout: Layout) -> bool:
    """Writes the users' file from the trust store on disk; whether it changed."""
    store = load_trust(layout).store
    text = users_config(store.workspace, users_of(store, load_key(layout, ADMIN).key_id, clock_ms())).encode()
    if layout.users.exists() and layout.users.read_bytes() == text:
        return False
    write_private(layout.users, text)
    return True


def users_of(store: TrustStore, admin_key: str, now_ms: int) -> list[User]:
    """Whom the broker lets in: every key that is neither revoked nor past its time, and the control plane's."""
    users = [
        User(key.key_id, record.agent)
        for record in store.agents
        for key in record.keys
        if key.revoked_at is None and time_ms(key.not_after) > now_ms and role_of(record.agent) in USER_ROLES
    ]
    return [*users, User(admin_key, ADMIN)]


def login_of(layout: Layout, agent: str, held: SigningKey | None = None) -> Login | None:
    """The key file of the agent, or of its role, under the name it is enrolled with; None where nobody needs to log in.
    held: the key, if it is loaded already. Raises UserError.
    """
    if not layout.is_secure:
        return None
    key = held or load_key(layout, agent)
    found = load_trust(layout).find(key.key_id)
    if found is None and agent != ADMIN:
        raise UserError("not_enrolled", f"the key of {agent} is not in the trust store", "`interlock keys list`")
    return Login(agent if found is None else found.agent, key)


def server_include(layout: Layout) -> str:
    """What an embedded server of this workspace is configured with besides its own; empty where it is open."""
    if not layout.is_secure:
        return ""
    write_users(layout)  # keys whose time is over are no users any more
    return f"include {json.dumps(os.path.relpath(layout.users, layout.store))}"


def reload_server(layout: Layout) -> bool:
    """Has the server that `up` or `run` started here read its users anew; False if none runs here."""
    running = layout.running()
    if running is None or not running.server_pid:
        return False
    try:
        os.kill(running.server_pid, signal.SIGHUP)
    except OSError:
        return False
    return True
