"""A cloud's library, or one line that says how to get it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from interlock.agents.errors import UserError


def library(name: str, extra: str) -> Any:
    """The module `name`. Raises UserError if the extra is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError("missing_extra", f"{name} is not installed", f"pip install 'interlock[{extra}]'", 2) from error
