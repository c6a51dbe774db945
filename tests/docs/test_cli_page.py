"""docs/cli.md is made of the command line itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts import App

from interlock.agents.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
HEAD = """\
# The command line

Every verb has `--help`, and `--json` for machines: one JSON value on standard output (`watch` and the other verbs that go on: one a
line), but for `agent`, whose only output are log lines, which are JSON. `-o FILE` where a file is made. `--dir` is the workspace, by
default found upwards from here; `--nats` a server, by default the one that runs here. Exit 0 done, 1 failed, 2 refused by governance
or bad usage, 130 and 143 interrupted. What is wrong is one line on standard error: what, its reason code, what to do about it.
Where nothing runs, what only reads (`goals`, `status`, `trace`, `dead list` and their like) opens the workspace's own store.

Made of the code by `tests/docs/test_cli_page.py`.

| verb | what it does |
|---|---|
"""


def verbs(within: App = app, path: str = "interlock") -> Iterator[str]:
    for name in sorted(name for name in within if not name.startswith("-")):
        verb = within[name]
        if verb.default_command is not None:
            wanted = "".join(f" {argument.name.lstrip('-').upper()}" for argument in positional(verb))
            yield f"| `{path} {name}{wanted}` | {' '.join(verb.help.partition(chr(10) * 2)[0].split())} |"
        yield from verbs(verb, f"{path} {name}")


def positional(verb: App) -> list[Any]:
    arguments = verb.assemble_argument_collection()
    return [one for one in arguments if one.field_info.is_positional and one.required]


def test_the_page_is_what_the_command_line_says() -> None:
    page = HEAD + "\n".join(verbs()) + "\n"
    if os.environ.get("INTERLOCK_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "INTERLOCK_WRITE_DOCS=1 pytest tests/docs/test_cli_page.py"
