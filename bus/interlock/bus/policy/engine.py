"""The Rego engine: a compiled bundle, and one verdict per input (library-facts.md, Rego). Runs in the worker child only.

Nothing but exactly true from `interlock.main.allow` is an allow. Undefined, error, conflict and an input that could not
be set are denials with codes of their own; the engine's own words never decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.rego_input import InputSetter, UnsafeText
from interlock.bus.policy.rego_query import UNDEFINED_ANSWER, BundleQuery
from interlock.bus.policy.rego_source import Module
from interlock.envelope.verdict import ALLOW, Decision, Ground, Verdict, deny

ALLOW_ENTRY = "interlock/main/allow"
GROUNDS_ENTRY = "interlock/main/grounds"
UNDEFINED, ERROR, CONFLICT = "policy_undefined", "policy_error", "policy_conflict"
STALE_INPUT, UNSAFE_INPUT = "policy_stale_input", "policy_unsafe_input"
MAX_GROUNDS = 50
# One question gathers both, so that nothing is evaluated twice. What is told beside `allow` stands in an object: whatever
# a policy or an input makes the engine print there, it cannot come out as these bytes.
_ANSWER_ENTRY = "interlock_engine/answer"
_ALLOWED = b'{"expressions":[true]}'
_ANSWER = Module(
    "engine.rego",
    """package interlock_engine

import rego.v1

answer := true if {
	data.interlock.main.allow == true
} else := {"grounds": data.interlock.main.grounds}
""",
)
_ERROR = re.compile(r"\(error \d+:(?P<name>[^|]+)\|(?P<offset>\d+)\|.*?\(errormsg \d+:(?P<what>[^)]*)\)", re.DOTALL)


class _Result(msgspec.Struct):
    expressions: list[Any]


class Engine:
    """One interpreter with one compiled bundle."""

    def __init__(self, modules: Sequence[Module], entries: Sequence[str] = ()) -> None:
        """Compiles. entries: what else may be asked of it with `value`. Raises PolicyError (policy_compile)."""
        from regopy import Interpreter, RegoError  # 20 MB: only where it is used
        from regopy.rego_shared import LogLevel

        self._failures = (RegoError, msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)
        build: Any = Interpreter  # it has no types
        self._interpreter = build()
        self._interpreter.log_level = LogLevel.NONE
        self._input = InputSetter(self._interpreter)
        try:
            for module in (*modules, _ANSWER):
                self._interpreter.add_module(module.name, module.text)
            bundle = self._interpreter.build(None, [_ANSWER_ENTRY, *entries])
        except self._failures as error:
            raise PolicyError("policy_compile", f"the policies do not compile: {_where(error, modules)}") from error
        if not bundle.ok():
            raise PolicyError("policy_compile", "the policies do not compile")
        self._bundle = BundleQuery(self._interpreter, bundle)

    def knows(self, builtin: str) -> bool:
        """Whether this engine has a builtin; calls of others are silently undefined."""
        return bool(self._interpreter.is_builtin(builtin))

    def judge(self, document: Any) -> Verdict:
        """The verdict on an input document of plain JSON values."""
        problem = self._set(document)
        if problem is not None:
            return problem
        answer = self._query(_ANSWER_ENTRY)
        if answer == _ALLOWED:
            return ALLOW
        expressions = self._expressions(answer, ALLOW_ENTRY)
        return expressions if isinstance(expressions, Verdict) else verdict_of(expressions)

    def value(self, document: Any, entry: str) -> Any | Verdict:
        """What one entrypoint says of an input, or the denial that stands for its absence."""
        problem = self._set(document)
        if problem is not None:
            return problem
        expressions = self._expressions(self._query(entry), entry)
        return expressions[0] if isinstance(expressions, list) else expressions

    def _query(self, entry: str) -> bytes | Verdict:
        """What is printed for the input that is set, or the denial that stands for its absence."""
        try:
            answer = self._bundle.ask(entry)
        except self._failures as error:
            return deny(ERROR, f"{entry}: {_brief(error)}", rule=entry)
        # Two values for one rule end here, and errors of builtins made strict.
        return (
            deny(CONFLICT, f"{entry}: the rules contradict each other or fail", rule=entry)
            if answer is None
            else answer
        )

    def _expressions(self, answer: bytes | Verdict, entry: str) -> list[Any] | Verdict:
        if isinstance(answer, Verdict):
            return answer
        try:
            told = [] if answer == UNDEFINED_ANSWER else msgspec.json.decode(answer, type=_Result).expressions
        except self._failures as error:
            return deny(ERROR, f"{entry}: {_brief(error)}", rule=entry)
        return told or deny(UNDEFINED, f"{entry} is undefined for this input", rule=entry)

    def _set(self, document: Any) -> Verdict | None:
        """After a failed set_input the engine would judge the input before it: nothing is asked then."""
        try:
            self._input.set(document)
        except UnsafeText as error:
            return deny(UNSAFE_INPUT, f"the input holds {error.args[0]!r:.80}", rule="input", instead="plain text")
        except self._failures as error:
            return deny(STALE_INPUT, f"the input cannot be judged: {_brief(error)}", rule="input")
        return None


def verdict_of(expressions: Sequence[Any]) -> Verdict:
    """The verdict where `allow` is not true, from {"grounds": `interlock.main.grounds`}. It can never be an allow."""
    answer = expressions[0] if len(expressions) == 1 else None
    told = answer.get("grounds") if isinstance(answer, dict) else None
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
