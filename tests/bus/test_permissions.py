"""Role by action against a real nats-server: what it says to each is what docs/permissions.md says (GOV-02).

To write the page anew after a change of the declared routes, streams or accesses: INTERLOCK_WRITE_DOCS=1 pytest <this file>
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from interlock.bus.authority import AUTHORITY
from interlock.bus.errors import LoginRefused, Refused, Unavailable
from interlock.bus.jetstream.connection import JetStreamSettings
from interlock.bus.jetstream.login import Login
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.permissions import RUNNING_ROLES, USER_ROLES, grants
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.server.users import User, users_config
from interlock.bus.streams import BUCKETS, Declarations, declarations
from interlock.envelope.keys import SigningKey
from tests.bus.forgeries import ATTEMPTS, ITS_OWN, ROLES, refusals
from tests.bus.permission_rows import GOAL, Row, W, tables

pytestmark = [pytest.mark.anyio, pytest.mark.nats]
PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
HEAD = """\
# Who may do what at the broker

What a real nats-server answered to each role under the configuration that `interlock init --secure` writes. Written and
compared by `tests/bus/test_permissions.py`; derived from `bus/interlock/bus/permissions.py`. An empty cell is a refusal by
the broker itself. `admin` is the control plane: `interlock up` uses it to declare streams and to publish the trust store,
and no agent holds its key. What receivers refuse besides: [security.md](security.md).

Nobody, the control plane included, may delete or purge a stream, delete a message, or take or restore a snapshot.
"""
FORGERIES = """\
## What a role does with its own key, on its own route

Each on all of its own routes. `receiver`: whoever it comes to refuses it. `auditor`: it is refused with the goal, which then fails
gate G5. A receiver sees one hop, not its parent: what the gateway gave the goal and signed travels with it (deadline, budget,
capabilities, contract), and who is sent something wider refuses it: evaluator, auditor and synthesizer (`bad_parent`), the executor
(`token_widened`), the orchestrator and people's commands, who hold the intake (`bad_parent`); and of a gateway everybody what its
contract does not allow (`contract_mismatch`). Siblings together are held by the ledger (`over_budget`) and found by the auditor.
An empty cell is nothing to refuse: a gateway begins goals and says how long they last, at most an hour, and a human decides; of
whoever handed the goal in, no decision counts ([approvals](approvals.md)).
"""
SETTINGS = JetStreamSettings(request_timeout_ms=300, publish_timeout_ms=2_000, no_stream_retry_ms=0)


class Secured:
    """A broker with one user per role, and a connection for each."""

    def __init__(self, server: EmbeddedServer, keys: dict[str, SigningKey]) -> None:
        self.server = server
        self.keys = keys
        self.transports: dict[str, JetStreamTransport] = {}

    async def allows(self, role: str, verb: str, subject: str) -> bool:
        """Asks the broker, which answers a ping only after it has complained."""
        transport = self.transports[role]
        client = transport.client
        transport.forbidden.clear()
        subscription = await client.subscribe(subject) if verb == "sub" else None
        if subscription is None:
            await client.publish(subject, b"{}")
        for _ in range(2):  # nats-py's first ping may overtake what was asked before it
            await client.flush()
        refused = subject.lower() in transport.forbidden
        if subscription is not None and not refused:
            await subscription.unsubscribe()
        return not refused


@pytest.fixture(scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    keys = {role: SigningKey.generate() for role in USER_ROLES}
    config = users_config("w", [User(key.key_id, role) for role, key in keys.items()])
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer(tmp_path_factory.mktemp("secured"), config=config))
        place = Secured(server, keys)
        for role, key in keys.items():
            place.transports[role] = await stack.enter_async_context(
                JetStreamTransport.connect(server.url, name=role, login=Login(role, key), settings=SETTINGS)
            )
        yield place


async def cell(place: Secured, role: str, row: Row) -> str:
    return ", ".join([said for said, subject in row.cells if await place.allows(role, row.verb, subject)])


async def page(place: Secured) -> str:
    lines = [HEAD]
    for title, rows in tables():
        lines += [f"## {title}", "", f"| | {' | '.join(USER_ROLES)} |", "|---|" + "---|" * len(USER_ROLES)]
        for row in rows:
            lines.append(f"| {row.title} | {' | '.join([await cell(place, role, row) for role in USER_ROLES])} |")
        lines.append("")
    lines += [FORGERIES, f"| | {' | '.join(ROLES)} |", "|---|" + "---|" * len(ROLES)]
    for attempt in ATTEMPTS:
        told = [", ".join(sorted(refusals(role, attempt))) for role in ROLES]
        lines.append(f"| {attempt} | {' | '.join(told)} |")
    return "\n".join([*lines, ""])


async def test_the_page_says_what_the_broker_says(secured: Secured) -> None:
    written = await page(secured)
    if os.environ.get("INTERLOCK_WRITE_DOCS"):
        PAGE.write_text(written)
    assert PAGE.read_text() == written, (
        "look at what changed, then: INTERLOCK_WRITE_DOCS=1 pytest tests/bus/test_permissions.py"
    )


async def allowed(place: Secured, title: str) -> list[str]:
    row = next(row for _, rows in tables() for row in rows if row.title == title)
    return [role for role in USER_ROLES if await cell(place, role, row)]


# Said once more in words that do not come from the code that grants: what nobody else has any business doing.
ONLY = {
    "write LEDGER": ["gateway"],
    "pose as the ledger": ["gateway"],
    "write AUDIT": ["auditor"],
    "write a goal's journal": ["orchestrator"],
    "write an effect's journal": ["executor"],
    "write KV trust": ["admin"],
    "write another workspace's trust": [],
    "write KV registry": [],
    "announce a resume": ["human"],
    "submit a goal": ["auditor", "human"],  # the auditor: incident goals
    "say that a deviation is resolved": ["auditor", "human"],  # and of these only a human's signature counts
    "ask the ledger": ["executor"],
    "store a bundle": ["auditor"],
    "hear everything": [],
    "hear everybody's inbox": [],
    "hear the broker's own events": [],
    "read HOPS": ["auditor", "human"],
    "speak in another workspace": [],
    **{f"pull from {role}-w": [role] for role in RUNNING_ROLES},
    **{f"acknowledge for {role}-w": [role] for role in RUNNING_ROLES},
    **{f"hear the inbox of {role}": [role] for role in USER_ROLES},
    **{f"stream {verb}": ["admin"] for verb in ("create", "update")},
    **{f"stream {verb}": [] for verb in ("delete", "purge", "msg.delete", "snapshot", "restore", "leader.stepdown")},
    "consumer create": ["admin"],
    "make a reader of HOPS": ["admin"],
    "make a durable the old way": [],
    "consumer delete": [],
    "consumer pause": [],
    "ask the broker about itself": [],
}


async def test_nobody_else_may(secured: Secured) -> None:
    assert {title: await allowed(secured, title) for title in ONLY} == ONLY


async def test_envelopes_go_where_authority_sends_them_and_nowhere_else(secured: Secured) -> None:
    for role in RUNNING_ROLES:
        for _, subject in (cell for _, rows in list(tables())[:1] for row in rows for cell in row.cells):
            to, intent = subject.split(".")[3], subject.split(".")[5]
            assert await secured.allows(role, "pub", subject) == ((role, to, intent) in AUTHORITY), (role, subject)


async def test_a_forbidden_publish_is_told_at_once(secured: Secured) -> None:
    with pytest.raises(Refused, match="forbids"):
        await secured.transports["executor"].publish(f"{W}.audit.refusal", b"{}")


async def test_forbidden_reads_and_requests_have_no_answer(secured: Secured) -> None:
    executor = secured.transports["executor"]
    with pytest.raises(Unavailable):
        await executor.last("LEDGER", f"{W}.ledger.goal.{GOAL}")
    with pytest.raises(Unavailable):
        [message async for message in executor.read("HOPS", [f"{W}.role.>"])]
    with pytest.raises(Unavailable):
        await executor.declare(Declarations(buckets=BUCKETS[:1]))


async def test_the_control_plane_declares_and_a_human_can_look(secured: Secured) -> None:
    await secured.transports["admin"].declare(declarations(("w",)))
    await secured.transports["human"].declare(declarations(("w",)), bind_only=True)


@pytest.mark.parametrize("role", ROLES)
def test_every_forgery_is_refused_and_nothing_else(role: str) -> None:
    for attempt in ATTEMPTS:
        found = refusals(role, attempt)
        if attempt == "nothing but what it should" or (role, attempt) in ITS_OWN:
            assert found <= {""}, attempt
        else:
            assert found, attempt
            assert "" not in found, attempt


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", ["extends the deadline", "widens the budget", "widens the capabilities"])
def test_what_widens_is_refused_by_whoever_it_comes_to(role: str, what: str) -> None:
    assert all(found.startswith("receiver: ") for found in refusals(role, what) - {""})


async def test_strangers_do_not_get_in(secured: Secured) -> None:
    for login in (None, Login("executor", SigningKey.generate())):
        with pytest.raises(LoginRefused):
            async with JetStreamTransport.connect(secured.server.url, name="executor", login=login):
                pass


async def test_a_key_of_another_name_has_another_inbox(secured: Secured) -> None:
    """A human with a key of their own: same role, own inbox; and the gateway may answer there."""
    users = ("human", "human.ada", "gateway")
    assert "_INBOX_human_ada.>" in grants("human.ada", "w", users).subscribe
    assert "_INBOX_human.>" not in grants("human.ada", "w", users).subscribe
    assert "_INBOX_human_ada.>" in grants("gateway", "w", users).publish


async def test_a_login_that_is_no_longer_known_ends_its_connection(tmp_path: Path) -> None:
    key = SigningKey.generate()
    admin = User(SigningKey.generate().key_id, "admin")
    file = tmp_path / "users.conf"
    file.write_text(users_config("w", [User(key.key_id, "executor"), admin]))
    async with EmbeddedServer(tmp_path / "store", config='include "../users.conf"') as server:
        with pytest.raises(LoginRefused):
            async with JetStreamTransport.connect(server.url, name="executor", login=Login("executor", key)):
                file.write_text(users_config("w", [admin]))
                os.kill(server.pid, 1)
                with anyio.fail_after(10):
                    await anyio.sleep_forever()
