"""An input document for the Rego engine, put together over its C API (rego-cpp, `regoInput…`).

The Python package does the same with a check and a call of Python for each value, which took a third of a decision.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

_ESCAPED = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
_LARGEST = 2**53
_MAX_NAMES = 1_000


class UnsafeText(ValueError):
    """A text that has to be escaped in JSON. This engine does not escape what it prints, so such a text could write the
    rest of an answer.
    """


class InputSetter:
    """Sets the inputs of one interpreter. Plain JSON values only."""

    def __init__(self, interpreter: Any) -> None:
        from regopy import RegoError, rego_shared

        library = rego_shared.rego
        self._error = RegoError
        self._new, self._free, self._set = library.regoNewInput, library.regoFreeInput, library.regoSetInput
        self._text, self._integer, self._float = library.regoInputString, library.regoInputInt, library.regoInputFloat
        self._boolean, self._null = library.regoInputBoolean, library.regoInputNull
        self._item, self._object, self._array = (
            library.regoInputObjectItem,
            library.regoInputObject,
            library.regoInputArray,
        )
        self._interpreter = interpreter
        self._names: dict[str, bytes] = {}

    def set(self, document: Any) -> None:
        """Raises UnsafeText, TypeError, OverflowError, RecursionError and the engine's RegoError; the engine then has its
        old input, and must not be asked.
        """
        stack = self._new()
        try:
            if self._put(stack, document) or self._set(self._interpreter._impl, stack):
                raise self._error("the input was not taken")
        finally:
            self._free(stack)

    def _put(self, stack: Any, value: Any) -> int:
        """Pushes one value; what went wrong, 0 if nothing did."""
        kind = type(value)
        if kind is str:
            if _ESCAPED.search(value):
                raise UnsafeText(value)
            return int(self._text(stack, value.encode()))
        if kind is dict:
            failed = 0
            names, text, item = self._names, self._text, self._item
            for name, inner in value.items():
                failed |= text(stack, names.get(name) or self._name(name)) | self._put(stack, inner) | item(stack)
            return failed | int(self._object(stack, len(value)))
        if kind is list:
            failed = 0
            for inner in value:
                failed |= self._put(stack, inner)
            return failed | int(self._array(stack, len(value)))
        return self._put_scalar(stack, value)

    def _name(self, name: Any) -> bytes:
        """A field's name, looked at once: the inputs of a bundle have the same fields."""
        if type(name) is not str:
            raise TypeError(f"{name!r} is no name of JSON")
        if _ESCAPED.search(name):
            raise UnsafeText(name)
        if len(self._names) >= _MAX_NAMES:
            self._names.clear()
        encoded = self._names[name] = name.encode()
        return encoded

    def _put_scalar(self, stack: Any, value: Any) -> int:
        kind = type(value)
        if kind is bool:
            return int(self._boolean(stack, value))
        if kind is int:
            if abs(value) > _LARGEST:  # the C API would cut it to 64 bits and say nothing
                raise OverflowError(f"{value} is no integer of JSON")
            return int(self._integer(stack, value))
        if value is None:
            return int(self._null(stack))
        if kind is float and isfinite(value):
            return int(self._float(stack, value))
        raise TypeError(f"{kind.__name__} is no value of JSON: {value!r:.80}")
