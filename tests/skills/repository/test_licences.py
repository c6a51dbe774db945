"""Licence texts, free-text licences, and the policy over them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import interlock.skills
from interlock.skills.repository.licences import (
    LICENCE_FILE,
    LicenceRules,
    expression_of,
    ids_of,
    load_licence_rules,
    recognised,
    rule_on,
    rules_for,
)

ROOT = Path(interlock.skills.__path__[0]).parents[2]
RULES = load_licence_rules(ROOT / "config")
MIT = (ROOT / "examples" / "01-release-readiness" / "sample" / "web" / "LICENSE").read_text()
BSD = "Redistribution and use in source and binary forms, with or without modification, are permitted provided that: "


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("MIT", "MIT"),
        ("mit license", "MIT"),
        ("MIT/Apache", "MIT OR Apache-2.0"),
        ("Apache 2.0 or MIT License", "Apache-2.0 OR MIT"),
        ("(MIT OR Apache-2.0)", "MIT OR Apache-2.0"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("BSD", "BSD-3-Clause"),
        ("UNLICENSED", "LicenseRef-Proprietary"),
        ("SEE LICENSE IN licence.txt", ""),
        ("AND", ""),
        ("((((((((((((((MIT", ""),
        ("", ""),
        ("MIT\x00\n", "MIT"),
    ],
)
def test_free_text_becomes_an_expression(text: str, expression: str) -> None:
    assert expression_of(text, RULES) == expression


@given(
    st.text(max_size=120) | st.lists(st.sampled_from(["MIT", "AND", "OR", "WITH", "(", ")", "/", "GPL"])).map(" ".join)
)
def test_no_text_crashes_and_what_is_understood_is_valid(text: str) -> None:
    expression = expression_of(text, RULES)
    assert rule_on(expression, RULES) in ("allowed", "review", "forbidden", "unknown")
    assert not expression or ids_of(expression)


@pytest.mark.parametrize("alias", RULES.aliases.values())
def test_every_alias_means_an_expression(alias: str) -> None:
    assert ids_of(alias)


@pytest.mark.parametrize(
    ("expression", "ruling"),
    [
        ("MIT", "allowed"),
        ("AGPL-3.0-only", "forbidden"),
        ("MIT OR AGPL-3.0-only", "allowed"),
        ("MIT AND AGPL-3.0-only", "forbidden"),
        ("(MIT OR SSPL-1.0) AND Apache-2.0", "allowed"),
        ("LGPL-3.0-only", "review"),
        ("GPL-3.0-only", "forbidden"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "allowed"),
        ("LicenseRef-Proprietary", "forbidden"),
        ("Ruby", "review"),
        ("", "unknown"),
    ],
)
def test_the_policy_takes_the_best_of_an_or_and_the_worst_of_an_and(expression: str, ruling: str) -> None:
    assert rule_on(expression, rules_for(["Apache-2.0"], RULES)) == ruling


def test_copyleft_is_forbidden_unless_it_is_the_trees_own() -> None:
    assert rule_on("GPL-3.0-only", rules_for(["MIT"], RULES)) == "forbidden"
    assert rule_on("GPL-3.0-only", rules_for(["GPL-3.0-or-later"], RULES)) == "review"
    assert rule_on("AGPL-3.0-only", rules_for(["GPL-3.0-or-later"], RULES)) == "forbidden"


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        (MIT, "MIT"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n   Version 3, 19 November 2007", "AGPL-3.0-only"),
        (
            "GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007\n the GNU Affero General Public License, version 3",
            "GPL-3.0-only",
        ),
        ("Mozilla Public License Version 2.0\n or the GNU Affero General Public License, Version 3.0", "MPL-2.0"),
        ("SPDX-License-Identifier: BSD-2-Clause\nwhatever", "BSD-2-Clause"),
        (BSD + "this list of conditions and the following disclaimer", "BSD-2-Clause"),
        (BSD + "may not be used to endorse or promote products", "BSD-3-Clause"),
        ("All rights reserved", ""),
        ("", ""),
    ],
)
def test_licence_texts_are_recognised(text: str, spdx: str) -> None:
    assert recognised(text, RULES) == spdx


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("LICENSE", True),
        ("licence.txt", True),
        ("COPYING.LESSER", True),
        ("LICENSE-MIT", True),
        ("lib.license", True),
        ("licensing.py", False),
    ],
)
def test_names_of_licence_files(name: str, is_one: bool) -> None:
    assert (LICENCE_FILE.match(name) is not None) is is_one


def test_a_broken_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "licences.yaml").write_text("aliases: {}\n")
    with pytest.raises(ValueError, match="missing required field"):
        load_licence_rules(tmp_path)


def test_the_table_is_typed() -> None:
    assert isinstance(RULES, LicenceRules)
