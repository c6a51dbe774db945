"""Goals under a contract, all roles running: what begins, what goes on, what stops; and what bundles prove of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.audit.bundle import make_bundle
from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.contract.admission import UnderContract
from interlock.agents.contract.configuration import configuration_digests
from interlock.bus.deadletters import DeadLetter
from interlock.envelope.amounts import Amount, Budget, clock_ms
from interlock.envelope.contract import Contract, EmergencyFlags
from interlock.envelope.contract_chain import Chain
from interlock.envelope.ids import new_id
from interlock.envelope.model import PolicyContext
from interlock.envelope.verdict import Ground
from tests.agents.test_flow import forged
from tests.envelope.contracts import FIRST, chain_of, grown

pytestmark = pytest.mark.anyio
TASKS = [{"id": "a", "skill": "doing-nothing"}]


async def test_every_hop_names_the_version_its_goal_began_under(house: Any) -> None:
    first = await house.run(house.goal(TASKS))
    refs = [house.keys.chain.head.ref]
    house.keys.change_contract(origin="proposed")
    second = await house.run(house.goal(TASKS))
    refs.append(house.keys.chain.head.ref)
    for status, ref in zip((first, second), refs, strict=True):
        assert status.outcome == "released", status.grounds
        hops = await house.messages("HOPS", "role", "*", status.goal_id, ">")
        assert {msgspec.json.decode(hop.data)["policyContext"]["contractRef"] for hop in hops} == {ref}


@pytest.mark.parametrize(
    ("more", "code", "path"),
    [
        ({"emergency_flags": EmergencyFlags(halted=True)}, "halted", "$"),
        ({"lifecycle": "retired"}, "contract_mismatch", "$"),
        ({"policy_bundle_checksum": "f" * 64}, "configuration_drift", "$"),
        ({"quotas": "half"}, "over_quota", "$.budget_limits"),
    ],
)
async def test_goals_that_the_contract_does_not_let_begin(
    house: Any, more: dict[str, Any], code: str, path: str
) -> None:
    if more.get("quotas") == "half":
        more = {"quotas": replace(house.keys.chain.head.contract.quotas, per_goal=Budget(cost_usd="0.5"))}
    house.keys.change_contract(**more)
    answer = await house.submit(house.goal(TASKS))
    (error,) = answer["errors"]
    assert error["message"].startswith(f"{code}: ")
    assert "allowed: " in error["message"]
    assert error["path"] == path
    assert await house.messages("HOPS", ">") == []


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({"contract_ref": ""}, "contract_mismatch"),
        ({"policy_bundle": "f" * 64}, "contract_mismatch"),
        ({"capabilities": ["*"]}, "contract_mismatch"),
    ],
)
async def test_hops_that_leave_the_contract_are_buried(house: Any, context: dict[str, Any], reason: str) -> None:
    contract = house.keys.chain.head
    held = PolicyContext(
        policy_bundle=contract.contract.policy_bundle_checksum, contract_ref=contract.ref, capabilities=["skill:*"]
    )
    wrong = replace(held, **context)
    sealed = forged(house, new_id(clock_ms()), house.keys.agents["evaluator"], policy_context=wrong)
    await house.transport.publish(sealed.envelope.subject, sealed.wire, message_id=sealed.envelope.id)
    letter = msgspec.json.decode((await house.until("DEAD", 1, "dead", "orchestrator", ">"))[0].data, type=DeadLetter)
    assert letter.reason == reason


async def test_the_contract_narrows_what_a_day_may_spend(house: Any) -> None:
    """Also during the day: what was spent before counts, what comes after has the new limit."""
    assert "goalId" in await house.submit(house.goal(TASKS))
    quotas = house.keys.chain.head.contract.quotas
    house.keys.change_contract(quotas=replace(quotas, per_day=Budget(cost_usd="0.5", wall_ms=10**9, actions=10**9)))
    answer = await house.submit(house.goal(TASKS))
    assert "budget" in answer["errors"][0]["path"]
    house.keys.change_contract(quotas=quotas)
    assert "goalId" in await house.submit(house.goal(TASKS))


async def test_the_contract_may_demand_that_a_human_is_asked(house: Any) -> None:
    house.keys.change_contract(emergency_flags=EmergencyFlags(human_approval_required=True))
    answer = await house.submit(house.goal(TASKS))
    observed = await house.until("HOPS", 1, "role", "orchestrator", answer["goalId"], "observe")
    payload = msgspec.json.decode(observed[0].data)["payload"]
    assert (payload["type"], payload["decision"]) == ("plan_verdict", "needs_approval")
    assert "human_approval_required" in [ground["code"] for ground in payload["grounds"]]


class Source:
    def __init__(self, chain: Chain) -> None:
        self.chain = chain


CONFIG_OF_FIRST: dict[str, Any] = {"policy_bundle": "b" * 64, "checksums": FIRST.checksums}
WANTED = Amount(0, 900_000, 0, 5)


def admitted(contract: Contract, wanted: Amount = WANTED, **digests: Any) -> Any:
    from interlock.agents.contract.configuration import ConfigurationDigests

    here = ConfigurationDigests(**CONFIG_OF_FIRST | digests)
    return UnderContract(Source(chain_of(contract)), here).admit(wanted)


def test_what_is_admitted_moves_under_the_newest_version() -> None:
    chain = grown(chain_of(), lifecycle="frozen")
    from interlock.agents.contract.configuration import ConfigurationDigests

    context = UnderContract(Source(chain), ConfigurationDigests(**CONFIG_OF_FIRST)).admit(WANTED)
    assert context == PolicyContext(policy_bundle="b" * 64, contract_ref=chain.head.ref, capabilities=["skill:*"])


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"policy_bundle": "f" * 64}, "policies"),
        ({"checksums": replace(FIRST.checksums, plan_logic="f" * 64)}, "plan logic"),
        ({"checksums": replace(FIRST.checksums, compliance="f" * 64)}, "compliance checks"),
        ({"checksums": replace(FIRST.checksums, economics="f" * 64)}, "prices"),
    ],
)
def test_configuration_that_the_contract_does_not_pin(changed: dict[str, Any], told: str) -> None:
    refused = admitted(FIRST, **changed)
    assert isinstance(refused, Ground)
    assert (refused.code, told in refused.message) == ("configuration_drift", True)
    assert "contract propose" in refused.instead


@pytest.mark.parametrize(
    ("wanted", "instead"),
    [
        (Amount(0, 1_000_001, 0, 1), "at most costUSD 1"),
        (Amount(1, 0, 0, 0), "at most thinkingTokens 0"),
        (Amount(0, 0, 1, 0), "at most wallMs 0"),
        (Amount(0, 1_000_001, 0, 11), "at most costUSD 1, actions 10"),
    ],
)
def test_quotas_cap_every_dimension_unless_overridden(wanted: Amount, instead: str) -> None:
    refused = admitted(FIRST, wanted)
    assert isinstance(refused, Ground)
    assert (refused.code, refused.instead) == ("over_quota", instead)
    overridden = replace(FIRST, emergency_flags=EmergencyFlags(budget_override=True))
    assert isinstance(admitted(overridden, wanted), PolicyContext)
    assert isinstance(admitted(FIRST, Amount(0, 1_000_000, 0, 10)), PolicyContext), "the cap itself is allowed"


def test_every_file_of_the_configuration_is_pinned_by_exactly_one_part(tmp_path: Path) -> None:
    (tmp_path / "playbooks").mkdir()
    own = tmp_path / "own"
    own.mkdir()
    for name in ("gates.yaml", "playbooks/a.yaml", "own/p.yaml", "prices.yaml", "risk.yaml", "new.yaml"):
        (tmp_path / name).write_text("a: 1\n")
    config = tmp_path
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.rego").write_text("package p\n")

    def parts() -> dict[str, str]:
        digests = configuration_digests(config)
        checksums: dict[str, str] = msgspec.to_builtins(digests.checksums)
        return {"policies": digests.policy_bundle} | checksums

    for name, part in {
        "gates.yaml": "planLogic",
        "playbooks/a.yaml": "planLogic",
        "prices.yaml": "economics",
        "risk.yaml": "compliance",
        "new.yaml": "compliance",
        "policies/p.rego": "policies",
    }.items():
        before = parts()
        (tmp_path / name).write_text("a: 2\n")
        assert [key for key, value in parts().items() if value != before[key]] == [part], name
    old = configuration_digests(config, [own])
    (own / "p.yaml").write_text("a: 3\n")
    assert configuration_digests(config, [own]).checksums.plan_logic != old.checksums.plan_logic


async def bundle(house: Any, directory: Path, contract: list[bytes]) -> Any:
    status = await house.run(house.goal(TASKS))
    await house.audited(status.goal_id)
    key = directory / "auditor.nk"
    key.write_text(house.keys.agents["auditor"].seed_text())
    path = await make_bundle(
        house.transport,
        house.workspace,
        status.goal_id,
        trust=house.keys.signed,
        roots=[house.keys.root.key_id],
        contract=contract,
        key_uri=f"file:{key}",
        out=directory / "bundle.json.gz",
    )
    verdict = verify_bundle(path.read_bytes(), [house.keys.root.key_id])
    return verdict, {check.name: check for check in verdict.checks}


async def test_a_bundle_proves_the_contract_its_hops_moved_under(house: Any, tmp_path: Path) -> None:
    house.keys.change_contract(origin="proposed")
    versions = [version.data for version in house.keys.chain.versions]
    verdict, checks = await bundle(house, tmp_path, versions)
    assert verdict.valid, verdict.checks
    assert checks["contract"].detail == "2 versions, the last active, each signed"
    assert checks["mandate"].detail == "11 hops under the contract they name"
    for wrong, failing in (
        ([], ["mandate"]),
        (versions[:1], ["mandate"]),
        ([versions[0], versions[1].replace(b'"active"', b'"frozen"')], ["contract", "mandate"]),
    ):
        verdict, checks = await bundle(house, tmp_path, wrong)
        assert [name for name, check in checks.items() if not check.ok] == failing


async def test_nothing_is_released_without_a_gate_that_the_contract_names(house: Any) -> None:
    house.keys.change_contract(gates=["G0", "G1", "G9"])
    goal_id = (await house.submit(house.goal([{"id": "a", "skill": "doing-nothing"}])))["goalId"]
    status = await house.ended(goal_id)
    assert status.outcome == "blocked"
    assert [(ground.code, ground.rule) for ground in status.grounds] == [("gate_missing", "contract.gates")]
    house.keys.change_contract(gates=["G0", "G1"])
    goal_id = (await house.submit(house.goal([{"id": "a", "skill": "doing-nothing"}])))["goalId"]
    assert (await house.ended(goal_id)).outcome == "released"
