"""YAML as a specification language: YAML 1.2 core scalars, no surprises, every error with its place.

PyYAML composes the nodes (and so knows line and column); this module bounds them, refuses duplicate keys, custom tags
and alias bombs, and reads scalars by the core schema of YAML 1.2.2, section 10.3: `on`, `yes`, `1:30` and `2020-01-01`
stay text, `010` is ten.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from functools import cache
from typing import Any

from msgspec import Struct

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_KEY = 1_024
# Places are kept for paths of this many characters together; beyond that the nearest thing around is told.
MAX_PATH_CHARS = 8 << 20
# Faults that are collected before reading ends all the same.
MAX_FAULTS = 100
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NULL = ("", "~", "null", "Null", "NULL")
_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")


class YamlError(ValueError):
    """`str(error)` is one line: source:line:column: what is wrong."""

    def __init__(self, source: str, line: int, column: int, what: str) -> None:
        super().__init__(f"{source}:{line}:{column}: {what}")
        self.what = what
        self.line = line
        self.column = column


class Loaded(Struct, frozen=True):
    """The plain value, and where each part of it stands. positions: JSON path (`$.a[0].b`) → (line, column), from 1;
    keys: the same, of the key instead of its value.
    """

    value: Any
    source: str
    positions: dict[str, tuple[int, int]]
    keys: dict[str, tuple[int, int]]

    def position(self, path: str) -> tuple[int, int]:
        """Where the value at a JSON path stands, or the nearest thing around it."""
        while path not in self.positions and path:
            cut = max(path.rfind("."), path.rfind("["))
            path = path[:cut] if cut > 0 else ""
        return self.positions.get(path, (1, 1))


def load_yaml(
    text: str | bytes, *, source: str, limit_bytes: int = MAX_BYTES, faults: list[YamlError] | None = None
) -> Loaded:
    """Parses one document of at most limit_bytes. Raises YamlError; with a list of faults only for what cannot be read
    past: a key there twice, a merge key, a tag are noted and left out.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > limit_bytes:
        raise YamlError(source, 1, 1, f"{len(data)} bytes; at most {limit_bytes}")
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError(source, data[: error.start].count(b"\n") + 1, 1, "not UTF-8") from None
    node = _composed(decoded, source)
    reader = _Reader(source, faults)
    value = None if node is None else reader.read(node, "$", 0)
    return Loaded(value, source, reader.positions, reader.keys)


# What libyaml reads as PyYAML does, places included: printable ASCII without directives, tags, explicit keys, marks of
# documents, and the two oddities of flow style in which they part. Nearly all there is.
_PLAIN_TEXT = re.compile(r"[ -~\n]*")
_UNLIKE = re.compile(r"(?:^|[\s\[{,:-])[?!%]|^(?:---|\.\.\.)|:\s*[,}\]]|[\[{][^\]}]*\?", re.MULTILINE)


def _composed(text: str, source: str) -> Any:
    import yaml

    if yaml.__with_libyaml__ and _PLAIN_TEXT.fullmatch(text) and _UNLIKE.search(text) is None:
        with suppress(YamlError, yaml.YAMLError, ValueError, OverflowError):
            quick = _quick_loader()(text)
            try:
                return quick.get_single_node()
            finally:
                quick.dispose()
    return _composed_slowly(text, source)


def _composed_slowly(text: str, source: str) -> Any:
    """In Python: six times slower, and with a word for all that is wrong."""
    import yaml

    try:
        loader = _loader()(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = before.count("\n") + 1, error.position - before.rfind("\n")
        raise YamlError(source, *place, f"the character {error.character:#x} is not allowed") from None
    loader.source = source
    try:
        return loader.get_single_node()
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(source, *_place(mark), str(error.problem or error.context or "not YAML")) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Escapes of characters that do not exist, directives with numbers beyond all measure.
        what = str(error).splitlines()[0][:200]
        raise YamlError(source, *_place(loader.get_mark()), f"not YAML: {what}") from None
    finally:
        loader.dispose()


@cache
def _bounded() -> Any:
    """PyYAML composes recursively: here it counts how deep it is, before it goes deeper."""
    import yaml
    from yaml.composer import Composer

    class Bounded(Composer):
        source = ""
        depth = 0
        count = 0
        peek_event: Any

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            opens = isinstance(event, yaml.CollectionStartEvent)
            self.depth += opens
            self.count += 1
            if self.depth > MAX_DEPTH:
                raise YamlError(self.source, *_place(event.start_mark), f"nested deeper than {MAX_DEPTH}")
            if self.count > MAX_NODES:
                raise YamlError(self.source, *_place(event.start_mark), f"more than {MAX_NODES} values")
            node = super().compose_node(parent, index)
            self.depth -= opens
            return node

    return Bounded


@cache
def _loader() -> Any:
    import yaml

    return type("BoundedLoader", (_bounded(), yaml.SafeLoader), {})


@cache
def _quick_loader() -> Any:
    """The same over the events of libyaml."""
    from yaml._yaml import CParser
    from yaml.composer import Composer
    from yaml.resolver import Resolver

    class Quick(_bounded(), CParser, Resolver):  # type: ignore[misc]  # made at run time
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            Resolver.__init__(self)

    return Quick


class _Reader:
    def __init__(self, source: str, faults: list[YamlError] | None) -> None:
        self._source = source
        self._faults = faults
        self._count = 0
        self._path_chars = 0
        self.positions: dict[str, tuple[int, int]] = {}
        self.keys: dict[str, tuple[int, int]] = {}

    def _fault(self, place: tuple[int, int], what: str) -> None:
        error = YamlError(self._source, *place, what)
        if self._faults is None or len(self._faults) >= MAX_FAULTS:
            raise error
        self._faults.append(error)

    def read(self, node: Any, path: str, depth: int) -> Any:
        """The plain value of a composed node. Aliases are expanded, and counted like what they stand for."""
        import yaml

        self._count += 1
        place = _place(node.start_mark)
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise YamlError(self._source, *place, "aliases unfold to too many values")
        self._path_chars += len(path)
        if self._path_chars <= MAX_PATH_CHARS:
            self.positions[path] = place
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, "tag:yaml.org,2002:seq", place)
            return [self.read(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        self._check_tag(node, "tag:yaml.org,2002:map", place)
        return self._mapping(node, path, depth)

    def _mapping(self, node: Any, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark)
            key = key_node.value
            if not isinstance(key, str):
                self._fault(place, "a key must be text")
                continue
            self._scalar(key_node, place)
            if len(key) > MAX_KEY:
                self._fault(place, f"a key of {len(key)} characters; at most {MAX_KEY}")
            elif key == "<<" and not key_node.style:
                self._fault(place, "merge keys (`<<`) are not part of YAML 1.2")
            elif key in result:
                self._fault(place, f"the key `{key[:80]}` is there twice")
            else:
                where = f"{path}.{key}"
                if self._path_chars <= MAX_PATH_CHARS:
                    self.keys[where] = place
                result[key] = self.read(value_node, where, depth + 1)
        return result

    def _scalar(self, node: Any, place: tuple[int, int]) -> Any:
        text: str = node.value
        if not text.isascii() and not _is_well_formed(text):
            raise YamlError(self._source, *place, "a lone surrogate is no character")
        explicit = node.tag.removeprefix("tag:yaml.org,2002:")
        if node.style:
            if explicit != "str":
                self._fault(place, f"the tag {node.tag} is not allowed")
            return text
        if explicit not in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value"):
            self._fault(place, f"the tag {node.tag} is not allowed")
        return plain_scalar(text)

    def _check_tag(self, node: Any, expected: str, place: tuple[int, int]) -> None:
        if node.tag != expected:
            self._fault(place, f"the tag {node.tag} is not allowed")


def plain_scalar(text: str) -> Any:
    """A plain (unquoted) scalar by the core schema. Numbers too long or too large to be meant stay text, like `.inf`."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) > 64:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _is_well_formed(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(mark: Any) -> tuple[int, int]:
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
