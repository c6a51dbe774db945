"""Who a proxy says has logged in by OpenID Connect: believed only from its address, with its secret, for users named here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interlock.agents.console.sessions import same
from interlock.agents.console.settings import ProxySettings
from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.envelope.ids import is_agent_id, role_of

SECRET_HEADER = b"interlock-proxy-secret"
MIN_SECRET = 16
MAX_SECRET = 4_096


class Proxy:
    """secret: what it sends besides. Raises UserError for settings that cannot be meant."""

    def __init__(self, settings: ProxySettings, base: Path) -> None:
        path = base / settings.secret_file
        self._secret = read_file(path, MAX_SECRET).decode("utf-8", "replace").strip()
        if len(self._secret) < MIN_SECRET:
            raise UserError("bad_settings", f"{path} has fewer than {MIN_SECRET} characters", "Make a longer secret", 2)
        strangers = [name for name in settings.users.values() if not is_agent_id(name) or role_of(name) != "human"]
        if strangers:
            raise UserError("bad_settings", f"console.proxy.users: {strangers[0][:80]!r} is no human", exit_code=2)
        self._settings = settings
        self._header = settings.header.lower().encode()

    def user(self, address: str, headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, str]:
        """(the name that the proxy gave, the human it is); empty where nobody is vouched for."""
        if address not in self._settings.addresses:
            return "", ""
        secrets = [value for name, value in headers if name == SECRET_HEADER]
        names = [value for name, value in headers if name == self._header]
        if len(secrets) != 1 or len(names) != 1 or not same(secrets[0].decode("latin-1"), self._secret):
            return "", ""
        name = names[0].decode("latin-1")
        return (name, self._settings.users[name]) if name in self._settings.users else ("", "")
