"""The users of a nats-server as its configuration (GOV-02): one NKey user per enrolled key, with its role's grants."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from msgspec import Struct

from interlock.bus.permissions import Grants, grants

HEAD = """\
# Written by Interlock from its trust store: changed here, it is written over. Who may do what: docs/permissions.md
"""


class User(Struct, frozen=True):
    """key_id: the public NKey. agent: the name it is enrolled under, `role` or `role.instance`, or `admin`."""

    key_id: str
    agent: str


def users_config(workspace: str, users: Sequence[User]) -> str:
    """An `authorization` block: nobody else gets in, and nothing is allowed that is not listed."""
    names = sorted({user.agent for user in users})
    entries = "\n".join(
        _user(user, grants(user.agent, workspace, names)) for user in sorted(users, key=lambda one: one.agent)
    )
    return f"{HEAD}authorization {{\n  timeout: 5\n  users: [\n{entries}\n  ]\n}}\n"


def server_config(users_file: str, store_dir: str) -> str:
    """A whole configuration, for a server that is run by hand: `nats-server -c FILE`. users_file: relative to it."""
    return f"""{HEAD}include {json.dumps(users_file)}
server_name: interlock
listen: "127.0.0.1:4222"
max_payload: {1 << 20}
jetstream {{
  store_dir: {json.dumps(store_dir)}
  sync_interval: always
}}
"""


def _user(user: User, granted: Grants) -> str:
    return f"""    {{ # {user.agent}
      nkey: {user.key_id}
      permissions: {{
        publish: {{ allow: {_list(granted.publish)} }}
        subscribe: {{ allow: {_list(granted.subscribe)} }}
      }}
    }}"""


def _list(subjects: Iterable[str]) -> str:
    return "[" + "".join(f"\n          {json.dumps(subject)}" for subject in subjects) + "\n        ]"
