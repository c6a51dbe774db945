"""The contract in force: on disk, in KV, in a role; what each does with versions that cannot be believed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from interlock.agents.contract.exchange import exchange
from interlock.agents.contract.generate import ensure_contract
from interlock.agents.contract.holder import BUCKET, ContractHolder, publish_contract, published_after
from interlock.agents.contract.store import load_contract, stored_versions, version_path
from interlock.agents.errors import UserError
from interlock.agents.process import emergency
from interlock.agents.workspace.keys import ensure_keys, load_key
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import DayLimit, Settings
from interlock.bus.clock import ManualClock
from interlock.bus.kv import kv_put
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.bus.tasks import background
from interlock.envelope.amounts import clock_ms
from interlock.envelope.contract import EmergencyFlags, sign_contract
from interlock.envelope.contract_chain import Chain, ContractError
from tests.agents.conftest import CONFIG
from tests.envelope.contracts import ADA, EXECUTOR, NOW, ROOT, SIGNERS, WORKSPACE, after, chain_of, grown

pytestmark = pytest.mark.anyio


class Believed:
    trust = SIGNERS.trust


def holder(chain: Chain) -> ContractHolder:
    return ContractHolder(chain, SIGNERS.roots, Believed())


@pytest.fixture
async def transport() -> MemoryTransport:
    made = MemoryTransport(ManualClock(NOW + 10**9))
    await made.declare(declarations((WORKSPACE,)))
    return made


def test_an_emergency_of_the_contract_is_told_as_soon_as_its_version_is_in_force() -> None:
    held = holder(chain_of())
    why = emergency(held)
    assert (why(), why()) == ("", "")
    halting = grown(chain_of(), ADA, emergency_flags=EmergencyFlags(halted=True))
    assert held.offer(halting.head.data, NOW + 10**8)
    assert "emergencyFlags.halted" in why()
    going = grown(halting, ADA, emergency_flags=EmergencyFlags())
    assert held.offer(going.head.data, NOW + 2 * 10**8)
    assert why() == ""


def test_a_holder_takes_over_the_next_version_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    held = holder(chain_of())
    second = grown(chain_of(), ADA)
    with caplog.at_level(logging.ERROR, "interlock.contract"):
        assert not held.offer(chain_of().head.data, NOW)
        assert caplog.text == "", "what is known is no news"
        for bad in (b"", b"{}", sign_contract(after(chain_of()), [EXECUTOR]), grown(second).head.data):
            assert not held.offer(bad, NOW + 10**8)
            assert "contract refused" in caplog.text
            caplog.clear()
        assert held.chain.head == chain_of().head
        assert held.offer(second.head.data, NOW + 10**8)
        assert held.chain.head == second.head
        assert not held.offer(sign_contract(after(chain_of(), gates=[]), [ROOT]), NOW + 10**8)
        assert "forked" in caplog.text


async def test_what_is_published_is_in_force_everywhere(transport: MemoryTransport) -> None:
    chain = chain_of()
    held = [holder(chain), holder(chain)]
    await publish_contract(transport, chain)
    async with background() as group:
        for one in held:
            group.start_soon(one.follow, transport)
        await publish_contract(transport, grown(chain, ADA))
        with anyio.fail_after(5):
            while not all(one.chain.head.contract.contract_version == 2 for one in held):
                await anyio.sleep(0.001)
    await publish_contract(transport, grown(chain, ADA))
    assert [entry.key for entry in await published_after(transport, chain)] == [f"{WORKSPACE}.v000002"]


async def test_another_version_under_the_same_number_is_not_written_over(transport: MemoryTransport) -> None:
    await publish_contract(transport, grown(chain_of(), ADA))
    with pytest.raises(ContractError, match="forked"):
        await publish_contract(transport, grown(chain_of(), ROOT, gates=[]))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    ensure_keys(made, "default")
    return made


def test_the_first_contract_is_made_once_and_follows_what_it_pins(layout: Layout) -> None:
    chain = ensure_contract(layout, Settings(), CONFIG)
    contract = chain.head.contract
    assert (contract.contract_version, contract.origin, contract.lifecycle) == (1, "generated", "active")
    assert contract.quotas.per_goal.cost_usd == "500"
    assert [entry.capabilities for entry in contract.agents if entry.agent == "executor"] == [["skill:*"]]
    assert ensure_contract(layout, Settings(), CONFIG).versions == chain.versions == load_contract(layout).versions
    changed = ensure_contract(layout, Settings(day_limit=DayLimit(cost_usd="5")), CONFIG)
    assert [version.contract.contract_version for version in changed.versions] == [1, 2]
    assert changed.head.contract.quotas.per_day.cost_usd == "5"
    (layout.root / "plays").mkdir()
    (layout.root / "plays" / "own.yaml").write_text("name: own\n")
    again = ensure_contract(layout, Settings(day_limit=DayLimit(cost_usd="5"), playbooks=["plays"]), CONFIG)
    assert again.head.contract.checksums.plan_logic != changed.head.contract.checksums.plan_logic


def take_over(layout: Layout, **more: object) -> Chain:
    """A person proposes and signs the next version."""
    from interlock.agents.contract.generate import following
    from interlock.agents.contract.store import signers_of, write_version

    chain = load_contract(layout)
    contract = replace(following(chain, chain.head.contract), **{"origin": "proposed"} | more)
    chain = chain.extended(sign_contract(contract, [load_key(layout, "human")]), signers_of(layout))
    write_version(layout, chain.head)
    return chain


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"lifecycle": "frozen", "origin": "generated"},
        {"emergency_flags": EmergencyFlags(halted=True), "origin": "generated"},
    ],
    ids=["proposed", "frozen", "halted"],
)
def test_what_people_decided_is_never_renewed_by_the_system(layout: Layout, more: dict[str, object]) -> None:
    ensure_contract(layout, Settings(), CONFIG)
    chain = take_over(layout, **more)
    assert ensure_contract(layout, Settings(day_limit=DayLimit(cost_usd="5")), CONFIG).head == chain.head


def test_a_workspace_without_its_root_key_is_not_renewed(layout: Layout) -> None:
    chain = ensure_contract(layout, Settings(), CONFIG)
    (layout.keys / "root.nk").unlink()
    assert ensure_contract(layout, Settings(day_limit=DayLimit(cost_usd="5")), CONFIG).head == chain.head


def test_a_contract_that_cannot_be_believed_stops_everything(layout: Layout) -> None:
    with pytest.raises(UserError, match="no_contract"):
        load_contract(layout)
    ensure_contract(layout, Settings(), CONFIG)
    ensure_contract(layout, Settings(day_limit=DayLimit(cost_usd="5")), CONFIG)
    path = version_path(layout, 1)
    good = path.read_bytes()
    acts: list[Callable[[], object]] = [
        lambda: load_contract(layout),
        lambda: ensure_contract(layout, Settings(), CONFIG),
    ]
    for data, why in ((good.replace(b'"500"', b'"900"'), "bad_signature"), (b"", "malformed")):
        path.write_bytes(data)
        for act in acts:
            with pytest.raises(UserError, match=why) as caught:
                act()
            assert caught.value.exit_code == 2
    path.unlink()
    with pytest.raises(UserError, match="wrong_version"):
        load_contract(layout)
    path.write_bytes(good)
    assert len(load_contract(layout).versions) == 2


async def test_disk_and_broker_give_each_other_what_is_missing(layout: Layout) -> None:
    transport = MemoryTransport(ManualClock(clock_ms() + 60_000))
    await transport.declare(declarations(("default",)))
    chain = ensure_contract(layout, Settings(), CONFIG)
    assert (await exchange(transport, layout, chain)).head == chain.head
    second = take_over(layout)
    await publish_contract(transport, second)
    version_path(layout, 2).unlink()
    assert (await exchange(transport, layout, load_contract(layout))).head == second.head
    assert stored_versions(layout) == [version.data for version in second.versions]
    await kv_put(transport, BUCKET, "default.v000003", b"{}")
    with pytest.raises(UserError, match="malformed"):
        await exchange(transport, layout, second)
    await kv_put(transport, BUCKET, "default.v000002", second.versions[0].data)
    with pytest.raises(UserError, match="forked"):
        await exchange(transport, layout, second)
