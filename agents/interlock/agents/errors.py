"""What a user can cause, told in one line: reason code, what is wrong, what to do."""

from __future__ import annotations

from interlock.bus.errors import BusError
from interlock.skills.errors import SkillsError


class UserError(Exception):
    """exit_code: 1 it failed, 2 bad usage or refused by governance."""

    def __init__(self, reason: str, detail: str, mend: str = "", exit_code: int = 1) -> None:
        super().__init__(_sentences(detail, reason, mend))
        self.reason = reason
        self.exit_code = exit_code


def _sentences(detail: str, reason: str, mend: str) -> str:
    return f"{detail} ({reason}). {mend}".rstrip().rstrip(".") + "."


def one_line(error: UserError | BusError | SkillsError) -> str:
    """The error with its reason code, whatever it quotes."""
    told = str(error) if isinstance(error, UserError) else _sentences(error.detail, error.reason, error.mend)
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in told)
