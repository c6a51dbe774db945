"""Documents: what is written is what was meant, for every reader, whatever the text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from interlock.bus.yaml12 import load_yaml
from interlock.skills.release.documents import code, counted, grid, json_text, markdown, size_text, told, yaml_text
from interlock.skills.release.placeholders import left_to_fill_in
from interlock.skills.release.workloads import dns_label
from interlock.skills.repository.findings import MAX_TOLD_BYTES, Finding
from interlock.skills.repository.findings import told as told_findings

plain_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff"), max_size=30
)
tricky = st.sampled_from(
    [
        "on",
        "no",
        "010",
        "1e3",
        "0o17",
        "null",
        "~",
        "1:30",
        "2020-01-01",
        "- x",
        "a: b",
        "#x",
        " ",
        "",
        "=",
        "<<",
        "0x1f",
        ".5",
        "+1",
        "nan",
        ".inf",
    ]
)
values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | plain_text | tricky,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(plain_text | tricky.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_yaml_means_the_same_in_both_versions_of_the_language(value: object) -> None:
    text = yaml_text({"value": value})
    assert yaml.safe_load(text) == {"value": value}
    assert load_yaml(text, source="t").value == {"value": value}
    assert yaml_text({"value": value}) == text


@given(values)
def test_json_keeps_the_order_it_was_built_in(value: object) -> None:
    text = json_text({"b": value, "a": 1})
    assert json.loads(text) == {"b": value, "a": 1}
    assert text.index('"b"') < text.rindex('"a"')


@given(st.text(max_size=60))
def test_a_code_span_stays_one_and_holds_the_text(text: str) -> None:
    from interlock.skills.repository.names import one_line

    shown = one_line(text, 300).replace("|", "¦")
    (inline,) = MarkdownIt().parseInline(f"x {code(text)} y")
    kinds = [child.type for child in inline.children or []]
    assert kinds == (["text", "code_inline", "text"] if shown else ["text"])
    if shown and inline.children:
        assert inline.children[1].content == shown


@given(st.text(max_size=80))
def test_foreign_prose_never_becomes_markup(text: str) -> None:
    (inline,) = MarkdownIt("commonmark", {"html": True}).parseInline(f"x {told(text)} y")
    kinds = {child.type for child in inline.children or []}
    assert kinds <= {"text", "text_special"}


def test_a_table_has_one_line_per_row() -> None:
    lines = grid(("A", "B"), [(code("a|b\nc"), 1)])
    assert lines == ["| A | B |", "|---|---|", "| `a¦b c` | 1 |", ""]
    assert grid(("A",), []) == []
    assert markdown(["# T", "", "", "", "x", ""]) == "# T\n\nx\n"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("number", "text"), [(1, "1 dependency"), (2, "2 dependencies"), (0, "0 dependencies")])
def test_counts(number: int, text: str) -> None:
    assert counted(number, "dependency") == text


@given(st.text(max_size=200))
def test_labels_fit_the_domain_name_system(text: str) -> None:
    import re

    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", dns_label(text))


findings = st.builds(
    Finding,
    id=st.sampled_from(["a", "b"]),
    severity=st.sampled_from(["info", "low", "medium", "high", "critical"]),
    message=st.text(max_size=400),
    file=st.text(max_size=400),
    line=st.integers(0, 9),
    blocks=st.booleans(),
)


@given(st.lists(findings, max_size=120))
def test_findings_are_bounded_worst_first_and_all_counted(found: list[Finding]) -> None:
    result = told_findings(found)
    assert result["findingCounts"]["total"] == len(set(found))
    assert len(json.dumps(result["findings"], ensure_ascii=False).encode()) <= MAX_TOLD_BYTES + 3_000
    blocks = [entry["blocks"] for entry in result["findings"]]
    assert blocks == sorted(blocks, reverse=True)
    assert not found or result["findings"]
    assert told_findings(reversed(found)) == result


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.md", "# T\nTODO: write this\n", 2),
        ("a.md", "# T\nsee ${name}\n", 2),
        ("a.md", "# T\nlorem ipsum dolor\n", 2),
        ("a.md", "# T\nask <your name here>\n", 2),
        ("a.md", "# T\n`TODO.md` and `${x}` are files\n", 0),
        ("a.md", "# T\ndocs/TODO.md\n", 0),
        ("a.md", "# T\nthe goal is to mend every TODO\n", 0),
        ("a.json", '{"a": ["TBD"]}', None),
        ("a.json", '{"name": "todo", "path": "TODO.md"}', 0),
        ("a.yaml", 'a: "{{ value }}"\n', None),
        ("a.yaml", "a: todo-app\n", 0),
    ],
)
def test_text_left_to_be_filled_in_is_found(tmp_path: Path, name: str, text: str, line: int | None) -> None:
    path = tmp_path / name
    path.write_text(text)
    found = left_to_fill_in({name: path}, {"goal": "the goal is to mend every TODO"}, ["todo"])
    assert [entry.line for entry in found] == ([] if line == 0 else [line or 0])
    assert all(entry.blocks for entry in found)
