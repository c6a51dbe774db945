"""What is wrong with a command line, in one line and in the words of its user."""

from __future__ import annotations

from cyclopts import CycloptsError, MissingArgumentError, UnusedCliTokensError


def told_usage(error: CycloptsError) -> str:
    chain = " ".join(("interlock", *(error.command_chain or ())))
    return f"interlock: {_problem(error, chain)} (bad_usage). See `{chain} --help`."


def _problem(error: CycloptsError, chain: str) -> str:
    argument = error.argument
    if isinstance(error, MissingArgumentError) and argument is not None:
        if argument.field_info.is_positional and not argument.tokens:
            return f"`{chain}` wants {argument.name.lstrip('-').upper()}"
        return f"{argument.name} wants a value"
    if isinstance(error, UnusedCliTokensError):
        extra = " ".join(error.unused_tokens or ())[:200]
        return f"`{chain}` takes no more arguments: {extra!r} is too much"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
