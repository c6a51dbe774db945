"""The Rego engine: a compiled bundle, and one verdict per input (library-facts.md, Rego). Runs in the worker child only.

Nothing but exactly [true] from `interlock.main.allow` is an allow. Undefined, error, conflict and an input that could not
be set are denials with codes of their own; the engine's own words never decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.rego_source import Module
from interlock.envelope.verdict import ALLOW, Decision, Ground, Verdict, deny

ALLOW_ENTRY = "interlock/main/allow"
GROUNDS_ENTRY = "interlock/main/grounds"
UNDEFINED, ERROR, CONFLICT = "policy_undefined", "policy_error", "policy_conflict"
STALE_INPUT, UNSAFE_INPUT = "policy_stale_input", "policy_unsafe_input"
MAX_GROUNDS = 50
_ESCAPED = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
_ERROR = re.compile(r"\(error \d+:(?P<name>[^|]+)\|(?P<offset>\d+)\|.*?\(errormsg \d+:(?P<what>[^)]*)\)", re.DOTALL)


class Engine:
    """One interpreter with one compiled bundle."""

    def __init__(self, modules: Sequence[Module], entries: Sequence[str] = (ALLOW_ENTRY, GROUNDS_ENTRY)) -> None:
        """Compiles. Raises PolicyError (policy_compile)."""
        from regopy import Interpreter, RegoError  # 20 MB: only where it is used
        from regopy.rego_shared import LogLevel

        self._failures = (RegoError, ValueError, TypeError, OverflowError, RecursionError, UnicodeError)
        build: Any = Interpreter  # it has no types
        self._interpreter = build()
        self._interpreter.log_level = LogLevel.NONE
        try:
            for module in modules:
                self._interpreter.add_module(module.name, module.text)
            self._bundle = self._interpreter.build(None, list(entries))
        except self._failures as error:
            raise PolicyError("policy_compile", f"the policies do not compile: {_where(error, modules)}") from error
        if not self._bundle.ok():
            raise PolicyError("policy_compile", "the policies do not compile")

    def knows(self, builtin: str) -> bool:
        """Whether this engine has a builtin; calls of others are silently undefined."""
        return bool(self._interpreter.is_builtin(builtin))

    def judge(self, document: Any) -> Verdict:
        """The verdict on an input document of plain JSON values."""
        unsafe = _unprintable(document)
        if unsafe:
            return deny(UNSAFE_INPUT, f"the input holds {unsafe!r:.80}", rule="input", instead="plain text")
        problem = self._set(document)
        if problem is not None:
            return problem
        allow = self.ask(ALLOW_ENTRY)
        if isinstance(allow, Verdict):
            return allow
        if _exactly_true(allow):
            return ALLOW
        grounds = self.ask(GROUNDS_ENTRY)
        return grounds if isinstance(grounds, Verdict) else verdict_of(grounds)

    def value(self, document: Any, entry: str) -> Any | Verdict:
        """What one entrypoint says of an input, or the denial that stands for its absence."""
        problem = self._set(document)
        answer = problem or self.ask(entry)
        return answer[0] if isinstance(answer, list) else answer

    def ask(self, entry: str) -> list[Any] | Verdict:
        """The expressions of an entrypoint, or the denial that stands for their absence."""
        try:
            output = self._interpreter.query_bundle_entrypoint(self._bundle, entry)
            if not output.ok():
                # Two values for one rule end here, and errors of builtins made strict.
                return deny(CONFLICT, f"{entry}: the rules contradict each other or fail", rule=entry)
            expressions = [list(result.expressions) for result in output.results]
        except self._failures as error:
            return deny(ERROR, f"{entry}: {_brief(error)}", rule=entry)
        if len(expressions) != 1 or not expressions[0]:
            return deny(UNDEFINED, f"{entry} is undefined for this input", rule=entry)
        return expressions[0]

    def _set(self, document: Any) -> Verdict | None:
        """After a failed set_input the engine would judge the input before it: nothing is asked then."""
        try:
            self._interpreter.set_input(document)
        except self._failures as error:
            return deny(STALE_INPUT, f"the input cannot be judged: {_brief(error)}", rule="input")
        return None


def verdict_of(expressions: Sequence[Any]) -> Verdict:
    """The verdict where `allow` is not true, from `interlock.main.grounds`. It can never be an allow."""
    told = expressions[0] if len(expressions) == 1 else None
    if (
        not isinstance(told, dict)
        or not isinstance(told.get("denied"), list)
        or not isinstance(told.get("asked"), list)
    ):
        return deny(ERROR, "interlock.main.grounds does not hold `denied` and `asked`", rule=GROUNDS_ENTRY)
    denied, asked = _grounds(told["denied"]), _grounds(told["asked"])
    if denied:
        return Verdict(Decision.DENY, denied + asked)
    if asked:
        return Verdict(Decision.NEEDS_APPROVAL, asked)
    return deny(UNDEFINED, "no policy allows this", rule=ALLOW_ENTRY)


def _unprintable(value: Any) -> str:
    """The first text that has to be escaped in JSON. This engine does not escape what it prints, so such a text could
    write the rest of an answer.
    """
    if isinstance(value, str):
        return value if _ESCAPED.search(value) else ""
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((found for part in parts if (found := _unprintable(part))), "")


def _exactly_true(expressions: Sequence[Any]) -> bool:
    return len(expressions) == 1 and expressions[0] is True


def _grounds(value: list[Any]) -> tuple[Ground, ...]:
    grounds = []
    for entry in value[:MAX_GROUNDS]:
        told = entry if isinstance(entry, dict) else {"code": "policy_denied", "message": str(entry)}
        texts = {name: str(told.get(name, ""))[:500] for name in ("code", "message", "rule", "instead")}
        grounds.append(Ground(texts["code"] or "policy_denied", texts["message"], texts["rule"], texts["instead"]))
    return tuple(grounds)


def _where(error: BaseException, modules: Sequence[Module]) -> str:
    """The engine tells names and byte offsets in a syntax tree; people want file, line and what."""
    told = _ERROR.search(str(error))
    text = next((module.text for module in modules if told and module.name == told["name"]), None)
    if told is None or text is None:
        return _brief(error)
    line = text.encode()[: int(told["offset"])].count(b"\n") + 1
    return f"{told['name']}:{line}: {told['what']}"


def _brief(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
