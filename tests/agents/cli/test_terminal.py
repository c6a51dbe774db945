"""Who gets what a human types: whoever's question is shown when it is typed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator

import anyio
import pytest

from interlock.agents.cli.terminal import Terminal

pytestmark = pytest.mark.anyio


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], object]]:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w", buffering=1) as human:
        monkeypatch.setattr("sys.stdin", stdin)
        yield human.write
        human.close()  # the end of the input lets the reader go


async def shown(out: io.StringIO, question: str) -> None:
    with anyio.fail_after(5):
        while question not in out.getvalue():
            await anyio.sleep(0.001)


async def test_questions_are_asked_one_after_the_other(typed: Callable[[str], object]) -> None:
    terminal, out, answers = Terminal(), io.StringIO(), dict[str, str]()

    async def ask(question: str) -> None:
        answers[question] = await terminal.ask(question, out)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "first?")
        await shown(out, "first?")
        group.start_soon(ask, "second?")
        await anyio.wait_all_tasks_blocked()
        assert "second?" not in out.getvalue()
        typed("yes\n")
        await shown(out, "second?")
        typed("no\n")
    assert answers == {"first?": "yes\n", "second?": "no\n"}


async def test_an_answer_to_a_question_that_was_taken_back_is_no_answer_to_the_next(
    typed: Callable[[str], object],
) -> None:
    terminal, out = Terminal(), io.StringIO()
    async with anyio.create_task_group() as group:
        group.start_soon(terminal.ask, "first?", out)
        await shown(out, "first?")
        group.cancel_scope.cancel()
    typed("yes\n")
    with anyio.fail_after(5):
        while terminal._is_reading:
            await anyio.sleep(0.001)
    async with anyio.create_task_group() as group:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await terminal.ask("second?", out))

        group.start_soon(ask)
        await shown(out, "second?")
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        typed("no\n")
    assert answers == ["no\n"]


async def test_a_question_taken_back_leaves_the_next_line_to_the_next_question(typed: Callable[[str], object]) -> None:
    terminal, out = Terminal(), io.StringIO()
    async with anyio.create_task_group() as group:
        group.start_soon(terminal.ask, "first?", out)
        await shown(out, "first?")
        group.cancel_scope.cancel()
    typed_soon = anyio.Event()

    async def human() -> None:
        await shown(out, "second?")
        typed("yes\n")
        typed_soon.set()

    async with anyio.create_task_group() as group:
        group.start_soon(human)
        with anyio.fail_after(5):
            assert await terminal.ask("second?", out) == "yes\n"
    assert typed_soon.is_set()


async def test_the_end_of_the_input_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert await Terminal().ask("so?", io.StringIO()) == ""
