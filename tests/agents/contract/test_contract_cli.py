"""`interlock contract …` as people use it: propose, sign, freeze, ask, verify; every refusal with its mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.agents.cli import contracting, run
from interlock.agents.contract.admission import RENEW
from interlock.agents.contract.store import load_contract, version_path
from interlock.agents.workspace.layout import Layout
from interlock.envelope.amounts import clock_ms
from interlock.envelope.contract_gate import PENDING_MS


class Cli:
    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.layout = Layout(directory)
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        """The JSON of `interlock contract …`, or for a refusal its one line."""
        assert run(["contract", *arguments, "--dir", str(self.layout.root), "--json"]) == code
        told = self._capsys.readouterr()
        assert "Traceback" not in told.err
        return json.loads(told.out) if told.out else told.err

    def text(self, *arguments: str, code: int = 0) -> str:
        assert run(["contract", *arguments, "--dir", str(self.layout.root)]) == code
        return self._capsys.readouterr().out


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    assert run(["init", str(tmp_path)]) == 0
    capsys.readouterr()
    return Cli(tmp_path, capsys)


def test_init_makes_a_contract_and_a_second_init_keeps_it(cli: Cli) -> None:
    shown = cli("show")
    assert (shown["contract"]["contractVersion"], shown["contract"]["origin"]) == (1, "generated")
    assert run(["init", str(cli.layout.root)]) == 0
    assert cli.text("show").endswith(f"contractRef {shown['ref']}\n")
    assert cli("verify")["valid"]


def test_summaries_are_limited_until_people_say_otherwise(cli: Cli) -> None:
    (one,) = cli("show")["contract"]["quotas"]["kinds"]
    assert (one["kind"], one["perTask"], one["perDay"]) == ("summaries", {"costUSD": "0.05"}, {"actions": 100})
    kinds = '[{"kind": "letters", "skills": ["writing-letter*"], "perDay": {"costUSD": "3"}}]'
    assert cli("propose", "--set", f"quotas.kinds={kinds}") == {"version": 2, "changed": ["economics"]}
    assert cli("sign")["inForce"]
    assert [one["kind"] for one in cli("show")["contract"]["quotas"]["kinds"]] == ["letters"]
    cli("propose", "--set", "quotas.kinds=[]")
    assert cli("sign")["inForce"]
    assert "kinds" not in cli("show")["contract"]["quotas"]
    cli("propose", "--set", f"quotas.kinds={kinds}")
    assert cli("sign")["inForce"]


def test_a_proposal_is_in_force_once_it_is_signed(cli: Cli) -> None:
    told = cli("propose", "--set", "quotas.perGoal.costUSD=5", "--set", "baselines.determinismPerMille=960")
    assert told == {"version": 2, "changed": ["economics", "determinism"]}
    assert cli("show", "--proposal")["contract"]["quotas"]["perGoal"]["costUSD"] == "5"
    assert cli("show")["contract"]["contractVersion"] == 1, "nothing changes before it is signed"
    signed = cli("sign")
    assert signed["inForce"]
    shown = cli("show")
    assert (shown["ref"], shown["contract"]["origin"]) == (signed["ref"], "proposed")
    assert "no_proposal" in cli("sign", code=2)
    assert [row["changed"] for row in cli("history")] == [[], ["economics", "determinism"]]


def test_freeze_change_request_and_approval_by_somebody_else(cli: Cli) -> None:
    cli("propose", "--lifecycle", "frozen")
    cli("sign")
    assert "(frozen)" in cli("propose", "--set", "quotas.perGoal.costUSD=5", code=2)
    why = ["--change", "economics", "--why", "the quarter is over"]
    both = ["--set", "quotas.perGoal.costUSD=5", "--set", "evidence.decisionDays=10"]
    assert "(batched)" in cli("propose", *both, *why, code=2)
    assert "(change_mismatch)" in cli("propose", "--set", "evidence.decisionDays=10", *why, code=2)
    cli("propose", "--set", "quotas.perGoal.costUSD=5", *why)
    waiting = cli("sign")
    assert not waiting["inForce"]
    assert "approvals by others than human" in waiting["detail"]
    assert cli("sign", "--key", "root")["inForce"]
    assert cli("history")[-1]["request"] == "human: the quarter is over"
    assert "asked for by human: the quarter is over" in cli.text("history")
    cli("propose", "--set", "emergencyFlags.halted=true")
    assert cli("sign")["inForce"], "whoever may sign may always stop it"


def test_two_signatures_where_the_contract_demands_two(cli: Cli) -> None:
    cli("propose", "--set", "signing.threshold=2")
    cli("sign")
    cli("propose", "--set", "evidence.decisionDays=10")
    assert cli("sign")["detail"] == "1 of the 2 it needs"
    assert cli("sign")["detail"] == "1 of the 2 it needs", "the same key again is the same signature"
    assert cli("sign", "--key", "root")["inForce"]


def test_verify_finds_every_change_on_disk(cli: Cli) -> None:
    cli("propose", "--set", "evidence.decisionDays=10")
    ref = cli("sign")["ref"]
    assert cli("verify", "--head", ref)["valid"]
    path = version_path(cli.layout, 1)
    good = path.read_bytes()
    for changed in (good.replace(b'"gateway"', b'"catevay"'), good[:-1], good + b" ", b""):
        path.write_bytes(changed)
        assert not cli("verify", code=2)["valid"]
    path.write_bytes(good)
    version_path(cli.layout, 2).unlink()
    assert cli("verify")["valid"], "a chain that was cut short is whole in itself"
    cut = cli("verify", "--head", ref, code=2)
    assert "no version here" in cut["detail"]
    assert load_contract(cli.layout).head.contract.contract_version == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["propose", "--set", "nothing"], "bad_usage"),
        (["propose", "--set", "no.such.field=1"], "bad_usage"),
        (["propose", "--set", "quotas.none=1"], "bad_usage"),
        (["propose", "--set", "contractVersion=9"], "bad_usage"),
        (["propose", "--set", "origin=generated"], "bad_usage"),
        (["propose", "--set", "quotas.perGoal=5"], "bad_contract"),
        (["propose", "--set", "quotas=5"], "bad_contract"),
        (["propose", "--set", "quotas.kinds=5"], "bad_contract"),
        (["propose", "--set", 'quotas.kinds=[{"kind": "a", "skills": []}]'], "bad_contract"),
        (["propose", "--set", 'quotas.kinds=[{"kind": "a", "skills": ["a"], "perDay": {"usd": 1}}]'], "bad_contract"),
        (
            ["propose", "--set", 'quotas.kinds=[{"kind":"a","skills":["a"]},{"kind":"b","skills":["*"]}]'],
            "bad_contract",
        ),
        (["propose", "--set", "signing.threshold=0"], "bad_contract"),
        (["propose", "--lifecycle", "asleep"], "bad_contract"),
        (["propose", "--lifecycle", "draft"], "bad_lifecycle"),
        (["propose", "--change", "everything", "--why", "x"], "bad_usage"),
        (["propose", "--change", "evidence"], "bad_usage"),
        (["propose", "--change", "evidence", "--why", "x"], "change_mismatch"),
        (["show", "7"], "unknown_version"),
        (["show", "--proposal"], "no_proposal"),
        (["sign"], "no_proposal"),
    ],
)
def test_what_cannot_be_done_says_why(cli: Cli, arguments: list[str], reason: str) -> None:
    told = cli(*arguments, code=2)
    assert f"({reason})" in told
    assert told.startswith("interlock: ")
    assert told.count("\n") == 1


def test_a_key_that_may_not_sign_makes_no_version(cli: Cli) -> None:
    cli("propose", "--set", "evidence.decisionDays=10")
    assert "(untrusted_signer)" in cli("sign", "--key", "executor", code=2)
    assert "(no_key)" in cli("sign", "--key", "nobody", code=1)
    assert cli("sign")["inForce"], "the refused signature is not kept"


def test_a_proposal_for_an_older_head_is_refused(cli: Cli) -> None:
    cli("propose", "--set", "evidence.decisionDays=10")
    stale = (cli.layout.contracts / "proposal.json").read_bytes()
    cli("sign")
    (cli.layout.contracts / "proposal.json").write_bytes(stale)
    assert "(wrong_version)" in cli("sign", code=2)
    (cli.layout.contracts / "proposal.json").write_bytes(b"{}")
    assert "(malformed)" in cli("sign", code=2)


def test_drifted_configuration_is_taken_up_or_left(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / "own.yaml").write_text("name: own\n")
    settings = tmp_path / "interlock.yaml"
    settings.write_text(settings.read_text() + "playbooks: [plays]\n")
    assert cli("propose", "--keep")["changed"] == []
    assert cli("propose")["changed"] == ["plan_logic"]


def test_without_a_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(tmp_path, capsys)
    assert "(no_roots)" in cli("show", code=1)
    assert "(no_roots)" in cli("verify", code=1)


def test_doctor_tells_what_is_wrong_with_the_contract(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    def finding() -> tuple[str, str, str]:
        run(["doctor", "--dir", str(cli.layout.root), "--json"])
        (found,) = [one for one in json.loads(capsys.readouterr().out) if one["name"] == "contract"]
        return found["state"], found["detail"], found["mend"]

    assert finding()[:2] == ("ok", "version 1, active, generated")
    cli("propose", "--set", f"checksums.economics={'f' * 64}")
    cli("sign")
    assert finding() == ("fail", "the configuration differs from it: prices", RENEW)
    cli("propose", "--set", "emergencyFlags.halted=true")
    cli("sign")
    assert "halted" in finding()[1]
    version_path(cli.layout, 2).write_bytes(b"")
    assert finding()[0] == "fail"
    for path in cli.layout.contracts.glob("*"):
        path.unlink()
    assert finding()[0] == "warn"


def test_a_proposal_of_yesterday_is_proposed_again(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing can begin under a version long after another has taken its place."""
    cli("propose", "--set", "evidence.decisionDays=10")
    now_ms = clock_ms()
    monkeypatch.setattr(contracting, "clock_ms", lambda: now_ms + PENDING_MS + 1_000)
    assert "(stale_proposal)" in cli("sign", code=2)
    monkeypatch.undo()
    assert cli("sign")["inForce"]
