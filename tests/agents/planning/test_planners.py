"""Whichever way a plan is drafted: playbook, own tasks, matching skills, or a model behind a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from interlock.agents.planning.catalogue import load_catalogue
from interlock.agents.planning.model import draft_by_model
from interlock.agents.planning.model_permit import hosting_of
from interlock.agents.planning.model_settings import ModelPlanner
from interlock.agents.planning.planner import draft_plan, planner_of
from interlock.agents.planning.playbooks import load_playbook
from interlock.envelope.amounts import Budget
from interlock.envelope.payloads import Intake, PlanDraft, Stakeholder, TaskSpec

pytestmark = pytest.mark.anyio
CONFIG = Path(__file__).parents[3] / "config"
CATALOGUE = load_catalogue(CONFIG, [Path(__file__).parents[1] / "skills"], [])


def intake(goal: str = "x", **more: Any) -> Intake:
    return Intake(
        goal=goal,
        constraints=[],
        stakeholders=[Stakeholder(name="a")],
        success_metrics=["y"],
        budget_limits=Budget(actions=9),
        **more,
    )


def test_the_three_sources() -> None:
    book = draft_plan(intake(playbook="release-readiness"), CATALOGUE)
    assert isinstance(book, PlanDraft)
    assert (book.source, book.confidence, book.release is not None, len(book.tasks) >= 13) == (
        "playbook",
        1000,
        True,
        True,
    )
    own = draft_plan(intake(tasks=[TaskSpec(id="a", skill="doing-nothing")]), CATALOGUE)
    assert isinstance(own, PlanDraft)
    assert (own.source, [task.id for task in own.tasks], own.intake.tasks) == ("tasks", ["a"], [])
    free = draft_plan(intake("scan the repository for secrets"), CATALOGUE)
    assert isinstance(free, PlanDraft)
    assert (free.source, free.tasks[0].skill) == ("skills", "scanning-secrets")
    refused = draft_plan(intake("qqq zzz"), CATALOGUE)
    assert not isinstance(refused, PlanDraft)
    assert refused[0].code == "no_plan"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id: other\nversion: 1\ndescription: d\ntasks: []\n", "file's name"),
        ("id: p\nversion: one\ndescription: d\ntasks: []\n", ":2:10:"),
        ("id: p\nversion: 1\ndescription: d\ntasks:\n  - id: a\n    skil: s\n", ":5:5:"),
        ("id: p\nid: p\n", "twice"),
    ],
)
def test_broken_playbooks_name_their_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r".*") as caught:
        load_playbook(path)
    assert told in str(caught.value)


class Server(ThreadingHTTPServer):
    """Speaks the chat completions protocol; `answer` decides what it says."""

    answer: tuple[int, bytes, dict[str, str]] = (200, b"", {})
    seen: dict[str, Any] | None = None
    authorization = ""
    stop = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.seen = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.authorization = self.headers.get("Authorization", "")
        code, body, headers = self.server.answer
        if code == 0:
            self.server.stop.wait(5)
            return
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        running.stop.clear()
        yield running
        running.stop.set()
        running.shutdown()
        thread.join()


def said(content: str) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


PLAN = '[{"id": "a", "skill": "doing-nothing", "input": {}}]'


async def test_a_model_drafts_and_is_not_believed_more_than_it_may_be(server: Server, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    planner = ModelPlanner(
        url=f"http://127.0.0.1:{server.server_port}/v1/chat/completions", model="m", key_file=str(tmp_path / "key")
    )
    for content in (PLAN, f"```json\n{PLAN}\n```"):
        server.answer = (200, said(content), {})
        draft = await draft_by_model(planner, intake(), CATALOGUE)
        assert isinstance(draft, PlanDraft), draft
        assert (draft.source, draft.confidence, draft.tasks[0].skill) == ("model", 800, "doing-nothing")
    assert server.authorization == "Bearer s3cret"
    assert server.seen is not None
    assert (server.seen["model"], server.seen["temperature"]) == ("m", 0)
    assert "doing-nothing" in server.seen["messages"][0]["content"]


@pytest.mark.parametrize(
    "answer",
    [
        (200, said("I would rather not."), {}),
        (200, said("[]"), {}),
        (200, said('[{"id": "a"}]'), {}),
        (200, b"{}", {}),
        (200, b"\xff", {}),
        (200, b" " * 300_000, {}),
        (401, b"", {}),
        (500, b"", {}),
        (302, b"", {"Location": "http://127.0.0.1:1/"}),
        (0, b"", {}),
    ],
)
async def test_a_model_that_fails_is_a_ground_not_an_error(server: Server, answer: Any) -> None:
    server.answer = answer
    planner = ModelPlanner(url=f"http://127.0.0.1:{server.server_port}/", model="m", timeout_ms=300)
    grounds = await draft_by_model(planner, intake(), CATALOGUE)
    assert isinstance(grounds, list)
    assert grounds[0].code == "model_failed"
    assert "\n" not in grounds[0].message


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1:1/", "nonsense"])
async def test_a_model_that_is_not_there(url: str) -> None:
    grounds = await draft_by_model(ModelPlanner(url=url, model="m", timeout_ms=300), intake(), CATALOGUE)
    assert isinstance(grounds, list)


HIGH = {"employment_decisions": True, "human_oversight": True, "transparency": True}


@pytest.mark.parametrize(
    ("hosting", "more", "rule"),
    [
        ("remote", {"data_classification": "restricted"}, "models.data"),
        ("remote", {"data_classification": "confidential"}, "models.data"),
        ("remote", {"risk_hints": HIGH}, "models.risk"),
        ("remote", {}, ""),
        ("local", {"data_classification": "restricted", "risk_hints": HIGH}, ""),
        ("", {"data_classification": "restricted"}, ""),
    ],
)
async def test_a_model_is_asked_only_where_policies_let_it(
    server: Server, quiet_house: Any, hosting: Any, more: dict[str, Any], rule: str
) -> None:
    server.answer = (200, said(PLAN), {})
    url = f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
    planner = ModelPlanner(url=url, model="m", hosting=hosting)
    plan = planner_of(quiet_house.parts("orchestrator", model_planner=planner))
    drafted = await plan(intake("do nothing of note", **more))
    if not rule:
        assert isinstance(drafted, PlanDraft) and drafted.source == "model"
        return
    assert isinstance(drafted, list)
    assert {(ground.code, ground.rule) for ground in drafted} == {("policy_denied", rule)}
    assert "a model hosted here" in drafted[0].instead
    assert server.seen is None, "nothing has left"
    by_hand = await plan(intake("x", tasks=[TaskSpec(id="a", skill="doing-nothing")], **more))
    assert isinstance(by_hand, PlanDraft), "what no model drafts is not its affair"


@pytest.mark.parametrize(
    ("url", "hosting"),
    [
        ("http://localhost:1/v1", "local"),
        ("http://127.0.0.9/", "local"),
        ("http://[::1]:80/", "local"),
        ("https://api.example.com/v1", "remote"),
        ("http://10.0.0.1/", "remote"),
        ("http://localhost.example.com/", "remote"),
        ("nonsense", "remote"),
    ],
)
def test_only_this_machine_is_local(url: str, hosting: str) -> None:
    assert hosting_of(url) == hosting
