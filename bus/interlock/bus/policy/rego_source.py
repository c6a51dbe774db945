"""What a Rego module says, as far as it must be known before it is trusted: package, imports, rules, calls, references.

The engine compiles what it does not understand: a builtin it lacks, a rule misspelt under `not`, a field the input never
has, are all undefined, and the negation of undefined is true. So every name is looked at here first. Deliberately strict:
a module of ordinary style passes, what cannot be told apart does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from interlock.bus.policy.errors import PolicyError

_TOKEN = re.compile(
    r"(?P<space>[ \t\r]+|#[^\n]*)"
    r"|(?P<newline>\n)"
    r'|(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)'
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>:=|==|!=|<=|>=|[-+*/%&|<>=(){}\[\].,;:])"
)
_KEYWORDS = frozenset(
    {"as", "contains", "default", "else", "every", "false", "if", "import", "in", "not", "null", "package", "some"}
    | {"true", "with"}
)
_OPENING, _CLOSING = "([{", ")]}"


class Module(Struct, frozen=True):
    """name: `policies/…` for those of the configuration, `workspace/…` for a workspace's own."""

    name: str
    text: str


class Token(Struct, frozen=True):
    kind: str
    text: str
    line: int


class Reference(Struct, frozen=True):
    """A dotted name as written: `input.hop.intent`, `authz.allow`. called: an argument list follows. open: an index
    follows that is not a literal string.
    """

    path: tuple[str, ...]
    line: int
    called: bool
    open: bool


class Source(Struct, frozen=True):
    """One module. heads: the rules it defines; functions: those of them with arguments; aliases: imported name to
    path; local: names bound somewhere in it. replaces: the line of a `with`, or 0.
    tests: first and last line of each rule named `test_…` or with a `with`.
    """

    name: str
    package: tuple[str, ...]
    heads: frozenset[str]
    functions: frozenset[str]
    local: frozenset[str]
    references: tuple[Reference, ...]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    replaces: int = 0
    tests: tuple[tuple[int, int], ...] = ()


def read_source(name: str, text: str) -> Source:
    """Raises PolicyError (policy_syntax) with file and line."""
    return _Reader(name, _tokens(name, text)).read()


def _tokens(name: str, text: str) -> list[Token]:
    tokens, position, line = [], 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise PolicyError("policy_syntax", f"{name}:{line}: cannot be read at {text[position : position + 20]!r}")
        kind = match.lastgroup or ""
        if kind != "space":
            tokens.append(Token(kind, match.group(), line))
        line += match.group().count("\n")
        position = match.end()
    return [*tokens, Token("newline", "\n", line)]


class _Reader:
    def __init__(self, name: str, tokens: list[Token]) -> None:
        self._name = name
        self._tokens = tokens
        self._package: tuple[str, ...] = ()
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._heads: dict[str, None] = {}
        self._functions: set[str] = set()
        self._local: set[str] = set()
        self._references: list[Reference] = []
        self._replaces = 0
        self._tests: list[tuple[int, int]] = []

    def read(self) -> Source:
        for statement in self._statements():
            first = statement[0]
            if first.text == "package":
                if self._package:
                    raise self._wrong(first, "a module has one package")
                self._package = self._path(statement[1:])
            elif first.text == "import":
                self._import(statement)
            else:
                self._rule(statement)
        if not self._package:
            raise PolicyError("policy_syntax", f"{self._name}:1: it must begin with its package")
        return Source(
            self._name,
            self._package,
            frozenset(self._heads),
            frozenset(self._functions),
            frozenset(self._local),
            tuple(self._references),
            self._aliases,
            self._replaces,
            tuple(self._tests),
        )

    def _statements(self) -> Iterator[list[Token]]:
        """One per rule, import or package: each begins on a line of its own outside of all brackets."""
        statement: list[Token] = []
        open_brackets: list[Token] = []
        for token in self._tokens:
            if token.kind == "newline":
                if not open_brackets and statement:
                    yield statement
                    statement = []
                elif statement:
                    statement.append(token)
                continue
            if token.kind == "sign" and token.text in _OPENING:
                open_brackets.append(token)
            elif token.kind == "sign" and token.text in _CLOSING:
                opened = open_brackets.pop().text if open_brackets else ""
                if not opened or _CLOSING[_OPENING.index(opened)] != token.text:
                    raise self._wrong(token, f"`{token.text}` closes nothing")
            statement.append(token)
        if open_brackets:
            raise self._wrong(open_brackets[-1], f"`{open_brackets[-1].text}` is never closed")

    def _import(self, statement: Sequence[Token]) -> None:
        texts = [token.text for token in statement]
        if texts[1:] == ["rego", ".", "v1"]:
            return
        alias = statement[-1].text
        body = statement[1:-2] if len(texts) > 3 and texts[-2] == "as" else statement[1:]
        path = self._path(body)
        if path[0] != "data" or alias in self._aliases or alias in _KEYWORDS:
            raise self._wrong(statement[0], "import rego.v1, or a package below data, each under a name of its own")
        self._aliases[alias] = path

    def _path(self, tokens: Sequence[Token]) -> tuple[str, ...]:
        names, dots = tokens[::2], tokens[1::2]
        if not names or len(names) != len(dots) + 1 or any(dot.text != "." for dot in dots):
            raise PolicyError("policy_syntax", f"{self._name}: not a dotted name: {' '.join(t.text for t in tokens)}")
        if any(token.kind != "name" for token in names):
            raise self._wrong(names[0], "not a dotted name")
        return tuple(token.text for token in names)

    def _rule(self, statement: Sequence[Token]) -> None:
        rest = list(statement)
        if rest[0].text == "default":
            rest = rest[1:]
        head = rest[0] if rest else statement[0]
        if head.kind != "name" or head.text in _KEYWORDS | {"input", "data"}:
            raise self._wrong(head, f"a rule cannot begin with `{head.text}`")
        if len(rest) > 1 and rest[1].text == ".":
            raise self._wrong(head, "a rule's name has no dots: it would write into another package")
        self._heads[head.text] = None
        if head.text.startswith("test_") or any(token.text == "with" for token in statement):
            self._tests.append((statement[0].line, statement[-1].line))
        if len(rest) > 1 and rest[1].text == "(":
            self._functions.add(head.text)
            end = next(number for number, token in enumerate(rest) if token.text == ")")
            self._local.update(token.text for token in rest[2:end] if token.kind == "name")
        self._body(rest)

    def _body(self, tokens: Sequence[Token]) -> None:
        declaring = False
        bound: set[str] = set()
        number = 0
        while number < len(tokens):
            token = tokens[number]
            following = tokens[number + 1].text if number + 1 < len(tokens) else ""
            if token.text == "with":
                self._replaces = self._replaces or token.line
            if token.kind == "sign" and token.text == "=":
                raise self._wrong(token, "write `:=` or `==`; `=` binds or compares, whichever it can")
            if token.kind != "name" or token.text in _KEYWORDS:
                # The names after `some` and `every`, up to `in` or the line's end, are new.
                declaring = token.text in ("some", "every") or (declaring and token.text == ",")
                number += 1
                continue
            if declaring or (following == ":=" and number):
                if token.text in bound:
                    raise self._wrong(token, f"`{token.text}` is bound twice in one rule; this engine confuses the two")
                bound.add(token.text)
                self._local.add(token.text)
                number += 1
                continue
            if number and tokens[number - 1].text == ".":
                number += 1  # goes on after an index that is not written out
                continue
            number = self._reference(tokens, number)

    def _reference(self, tokens: Sequence[Token], number: int) -> int:
        """Reads one from tokens[number] on and gives the number of the token after it."""
        first = tokens[number]
        path = [first.text]
        number += 1
        while number + 1 < len(tokens):
            sign, name = tokens[number], tokens[number + 1]
            if sign.text == "." and name.kind == "name":
                path.append(name.text)
                number += 2
            elif sign.text == "[" and name.kind == "string" and tokens[number + 2].text == "]":
                path.append(name.text[1:-1])
                number += 3
            else:
                break
        following = tokens[number].text if number < len(tokens) else ""
        self._references.append(Reference(tuple(path), first.line, following == "(", following == "["))
        return number

    def _wrong(self, token: Token, what: str) -> PolicyError:
        return PolicyError("policy_syntax", f"{self._name}:{token.line}: {what}")
