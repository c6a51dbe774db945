"""Capability tokens issued by a key in Vault that no role holds: goals run by it, and by nothing else once it is enrolled."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from interlock.agents.cli import run
from interlock.agents.intake.issuing import issuer_key
from interlock.agents.wiring import ROLES, running
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.capability_token import ISSUER_AGENT, read_grant
from interlock.envelope.trust import AgentRecord, KeyRecord, load, sign_store
from interlock.envelope.verification import decode
from tests.agents.kms.vault_server import Transit
from tests.agents.kms.vault_server import transit as transit

pytest.importorskip("hvac")
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
KEY = "hashivault:ed"
TASKS = [{"id": "a", "skill": "doing-nothing"}]


def enrol(house: Any, **more: Any) -> None:
    """The issuer's key joins the trust store that every role of the house looks at."""
    now = clock_ms()
    window = {"not_before": timestamp(now - 60_000), "not_after": timestamp(now + 10**10)}
    record = AgentRecord(agent=ISSUER_AGENT, keys=[KeyRecord(key_id=issuer_key(KEY).key_id, **window | more)])
    store = house.keys.trust.store
    store = replace(store, version=store.version + 1, agents=[*store.agents, record])
    house.keys.trust = load(sign_store(store, [house.keys.root]), [house.keys.root.key_id])


async def ended(house: Any, **more: Any) -> Any:
    async with AsyncExitStack() as stack:
        for role in ROLES:
            parts = house.parts(role, **(more if role == "gateway" else {}))
            await stack.enter_async_context(running(role, parts))
        return await house.run(house.goal(TASKS))


async def test_a_goal_runs_by_tokens_that_vault_has_signed(quiet_house: Any, transit: Transit) -> None:
    enrol(quiet_house)
    status = await ended(quiet_house, token_key=KEY)
    assert status.outcome == "released", status.grounds
    (task,) = await quiet_house.messages("HOPS", "role", "executor", status.goal_id, "act")
    envelope = decode(task.data).envelope
    assert envelope is not None
    first, last = [read_grant(link) for link in envelope.attestations]
    assert first is not None
    assert last is not None
    assert (first.given_by, envelope.attestations[0].key_id) == (ISSUER_AGENT, issuer_key(KEY).key_id)
    assert (last.given_by, last.envelope) == ("orchestrator", envelope.id)


async def test_where_an_issuer_is_enrolled_a_gateway_can_give_nothing(quiet_house: Any, transit: Transit) -> None:
    enrol(quiet_house)
    status = await ended(quiet_house)
    assert status.outcome == "failed"
    assert "grants are issued by gateway.issuer here" in status.grounds[0].message


async def test_an_issuer_that_was_revoked_gives_nothing_and_gateways_may_again(
    quiet_house: Any, transit: Transit
) -> None:
    enrol(quiet_house, revoked_at=timestamp(clock_ms() - 1_000), revoked_why="stolen")
    assert (await ended(quiet_house)).outcome == "released"
    status = await ended(quiet_house, token_key=KEY)
    assert status.outcome == "failed"
    assert "key_revoked" in status.grounds[0].message


async def test_no_goal_begins_while_vault_does_not_sign(quiet_house: Any, transit: Transit) -> None:
    enrol(quiet_house)
    key, transit.keys["ed"] = transit.keys["ed"], ("ed25519", [])
    async with AsyncExitStack() as stack:
        for role in ROLES:
            parts = quiet_house.parts(role, **({"token_key": KEY} if role == "gateway" else {}))
            await stack.enter_async_context(running(role, parts))
        results: list[Any] = []

        async def submit() -> None:
            results.append(await quiet_house.submit(quiet_house.goal(TASKS), timeout_ms=30_000))

        async with anyio.create_task_group() as group:
            group.start_soon(submit)
            await quiet_house.until("GOALS", 1, "goal", "submit")
            await anyio.lowlevel.checkpoint()
            assert await quiet_house.messages("HOPS", "role", "orchestrator", ">") == []
            transit.keys["ed"] = key
        (answer,) = results
        assert (await quiet_house.ended(answer["goalId"])).outcome == "released", "it begins when Vault is back"


def test_the_issuers_key_is_enrolled_by_its_uri_and_never_held(
    tmp_path: Any, transit: Transit, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--dir", str(tmp_path)]
    assert run(["init", str(tmp_path)]) == 0
    for arguments in (
        ["keys", "new", ISSUER_AGENT],
        ["keys", "new", "human.ada", "--key", KEY],
        ["keys", "new", ISSUER_AGENT, "--key", "hashivault:ec"],
        ["keys", "new", ISSUER_AGENT, "--key", "nosuch:x"],
    ):
        assert run([*arguments, *place]) == 2, arguments
    assert run(["keys", "new", ISSUER_AGENT, "--key", "hashivault:none", *place]) == 1
    assert run(["keys", "new", ISSUER_AGENT, "--key", KEY, *place]) == 0
    assert issuer_key(KEY).key_id in capsys.readouterr().out
    assert not list(tmp_path.rglob("*issuer*")), "there is nothing of it here"
    assert run(["keys", "rotate", ISSUER_AGENT, *place]) == 2
    assert run(["keys", "revoke", issuer_key(KEY).key_id, "--why", "stolen", *place]) == 0
