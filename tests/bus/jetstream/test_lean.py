"""nats-py is loaded without what is not used of it, and is whole for whoever uses more."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = "import sys; import interlock.bus.jetstream.transport; "
HEAVY = ("aiohttp", "nats.js", "importlib.metadata", "email.parser", "zipfile")


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_what_no_role_uses_is_not_loaded() -> None:
    assert said(f"{BEGIN}print([name for name in {HEAVY} if name in sys.modules])") == "[]"


@pytest.mark.parametrize(
    "use",
    [
        "from nats.aio.client import Client; print(Client().jetstream().__class__.__name__)",
        "import nats; nats.js.api.Header.STATUS; import nats.js.errors; print(nats.js.JetStreamContext.__name__)",
        "from nats.js import JetStreamContext; print(JetStreamContext.__name__)",
    ],
)
def test_whoever_names_it_has_it(use: str) -> None:
    assert said(BEGIN + use) == "JetStreamContext"


def test_what_does_not_exist_is_still_told() -> None:
    assert said(f"{BEGIN}import nats; print(hasattr(nats, 'nothing'), nats.js.__name__)") == "False nats.js"


def test_who_loaded_it_before_keeps_it_whole() -> None:
    assert said(f"import nats.js, importlib.metadata; {BEGIN}print(nats.js.api.__name__)") == "nats.js.api"


def test_modules_that_were_kept_away_can_be_had_afterwards() -> None:
    assert said(f"{BEGIN}from importlib.metadata import version; print(bool(version('nats-py')))") == "True"
