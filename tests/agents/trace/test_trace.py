"""The causal tree: every hop once, below its cause; nothing a stranger wrote is believed or reaches the terminal raw."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.agents.audit.hop_graph import Following
from interlock.agents.trace.render import lines_of, visible
from interlock.agents.trace.tree import Branch, Growing, tree_of
from interlock.bus.transport import Message
from interlock.envelope.keys import SigningKey
from interlock.envelope.signing import seal
from interlock.envelope.verification import Limits
from tests.agents.audit.histories import GOAL, NOW, WORKSPACE, goal_history, make_trust

TRUST = make_trust()
WHOLE = goal_history(2)


def all_of(roots: list[Branch]) -> list[Branch]:
    found = [*roots]
    for branch in found:
        found.extend(branch.children)
    return found


def test_a_goal_as_a_tree() -> None:
    assert list(lines_of(tree_of(WHOLE.messages, TRUST))) == [
        "1 gateway → orchestrator plan intake  +0 ms (0 ms) ✓",
        "└─ 2 orchestrator → evaluator plan plan_draft  +10 ms (10 ms) ✓",
        "   └─ 3 evaluator → orchestrator observe plan_verdict allow  +20 ms (10 ms) ✓",
        "      ├─ 4 orchestrator → executor act task t0 #1  +30 ms (10 ms) ✓",
        "      │  └─ 5 executor → evaluator observe task_result t0: done  +40 ms (10 ms) 0.002 USD ✓",
        "      │     └─ 6 evaluator → orchestrator observe verification t0: allow  +50 ms (10 ms) ✓",
        "      ├─ 7 orchestrator → executor act task t1 #1  +60 ms (40 ms) ✓",
        "      │  └─ 8 executor → evaluator observe task_result t1: done  +70 ms (10 ms) 0.002 USD ✓",
        "      │     └─ 9 evaluator → orchestrator observe verification t1: allow  +80 ms (10 ms) ✓",
        "      ├─ 10 orchestrator → auditor act audit_request  +90 ms (70 ms) ✓",
        "      │  └─ 11 auditor → orchestrator observe audit_report allow  +100 ms (10 ms) ✓",
        "      └─ 12 orchestrator → human complete completion released  +110 ms (90 ms) ✓",
    ]


def test_as_json_it_holds_the_same_hops() -> None:
    value = msgspec.to_builtins(tree_of(WHOLE.messages, TRUST))
    assert value[0]["kind"] == "intake"
    assert value[0]["children"][0]["children"][0]["children"][1]["children"][0]["cost_usd"] == "0.002"


def test_a_hop_whose_cause_is_gone_stands_beside_the_root() -> None:
    roots = tree_of(WHOLE.messages[:4] + WHOLE.messages[5:], TRUST)
    assert [root.kind for root in roots] == ["intake", "verification"]
    assert roots[1].reason.startswith("bad_parent: its parent")
    assert list(lines_of(roots))[-1].startswith("5 evaluator → orchestrator observe verification")


def test_a_hop_in_the_wrong_place_is_marked_and_keeps_what_it_caused() -> None:
    early = [*WHOLE.messages]
    early.insert(2, early.pop(3))  # the task before the verdict it follows from
    roots = tree_of(early, TRUST)
    assert [root.kind for root in roots] == ["intake", "task"]
    assert [child.kind for child in roots[1].children] == ["task_result"]
    assert roots[1].reason.startswith("bad_parent")
    assert roots[1].children[0].verified
    assert len(all_of(roots)) == len(WHOLE.messages)


def test_what_strangers_claim_is_shown_and_not_believed() -> None:
    forged = seal(replace(WHOLE.sealed[4].envelope, id=WHOLE.sealed[6].envelope.id), SigningKey.generate())
    garbage = b'\x1b[2J\x07{"from":"x"}'
    messages = [
        *WHOLE.messages,
        Message(forged.envelope.subject, forged.wire, {}, 9_000, NOW),
        Message(f"interlock.{WORKSPACE}.role.human.{GOAL}.act", garbage, {}, 9_001, NOW),
    ]
    roots = tree_of(messages, TRUST)
    assert [root.kind for root in roots] == ["intake", "task_result", "?"]
    assert roots[1].reason.startswith("unknown_key")
    assert roots[2].reason.startswith("malformed")
    text = "\n".join(lines_of(roots))
    assert "✗ unknown_key" in text
    assert not {character for character in text if not character.isprintable()} - {"\n"}
    assert len(all_of(roots)) == len(messages)


def test_no_hops_no_tree_and_the_bounds_are_those_given() -> None:
    assert tree_of([], TRUST) == []
    small = tree_of(WHOLE.messages, TRUST, Limits(max_bytes=10))
    assert {branch.reason.partition(":")[0] for branch in small} == {"too_large"}


def test_many_siblings_fold_into_one_line() -> None:
    big = goal_history(300)
    roots = tree_of(big.messages, TRUST)
    assert len(list(lines_of(roots))) == len(big.messages) == 906
    folded = list(lines_of(roots, most=2))
    assert len(folded) == 3 + 2 * 3 + 2 + 1 + 1
    assert folded[-1] == "      └─ … 894 more hops: task and below, 0.596 USD ✓"
    # What does not verify is never folded away.
    broken = [*big.messages]
    broken[500] = replace(broken[500], headers={})
    told = list(lines_of(tree_of(broken, TRUST), most=2))
    assert sum("wrong_message_id" in line for line in told) == 1


@given(st.text(max_size=400))
def test_visible_is_visible(text: str) -> None:
    assert visible(text).isprintable()
    assert len(visible(text)) <= 300


@given(st.lists(st.sampled_from(range(len(WHOLE.messages))), max_size=12), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_hop_is_told_once_whatever_is_there(indexes: list[int], most: int) -> None:
    messages = [replace(WHOLE.messages[index], sequence=n + 1) for n, index in enumerate(indexes)]
    roots = tree_of(messages, TRUST)
    assert sorted(branch.number for branch in all_of(roots)) == list(range(1, len(messages) + 1))
    assert len(list(lines_of(roots))) == len(messages)
    assert len(list(lines_of(roots, most))) <= len(messages) + len({branch.kind for branch in all_of(roots)})


def test_hops_heard_one_by_one_are_told_as_the_tree_tells_them() -> None:
    """As `interlock watch` hears them: with their ages, and held to their parents."""
    following, growing = Following(TRUST), Growing()
    heard = [growing.add(following.heard(message)) for message in WHOLE.messages]
    flat = {branch.number: replace(branch, children=[]) for branch in all_of(tree_of(WHOLE.messages, TRUST))}
    assert heard == [flat[number] for number in sorted(flat)]
    assert [branch.age_ms for branch in heard[:3]] == [0, 10, 20]
    without = Following(TRUST)
    assert not without.heard(WHOLE.messages[1]).verified, "its parent was not heard"
