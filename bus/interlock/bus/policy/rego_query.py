"""A question to a compiled Rego bundle, over the engine's C API (rego-cpp, `regoBundleQueryEntrypoint`).

The Python package prints each answer three times and parses it before it is asked for.
"""

from __future__ import annotations

import ctypes
from typing import Any

UNDEFINED_ANSWER = b"undefined"


class BundleQuery:
    """Asks the entrypoints of one bundle of one interpreter."""

    def __init__(self, interpreter: Any, bundle: Any) -> None:
        from regopy import RegoError, rego_shared

        library = rego_shared.rego
        self._error, self._problem = RegoError, rego_shared.rego_get_error
        self._ask, self._free, self._ok = (
            library.regoBundleQueryEntrypoint,
            library.regoFreeOutput,
            library.regoOutputOk,
        )
        self._size, self._print = library.regoOutputJSONSize, library.regoOutputJSON
        self._interpreter, self._bundle = interpreter, bundle  # keeps them: the engine knows their addresses only

    def ask(self, entry: str) -> bytes | None:
        """What the engine prints for the input that is set: JSON, or `undefined`. None if the rules contradict each other or a
        builtin failed. Raises RegoError.
        """
        output = self._ask(self._interpreter._impl, self._bundle._impl, entry.encode())
        if not output:
            raise self._error(self._problem(self._interpreter._impl))
        try:
            if not self._ok(output):
                return None
            size = self._size(output)
            text = ctypes.create_string_buffer(size)
            if self._print(output, text, size):
                raise self._error(self._problem(self._interpreter._impl))
            return text.value
        finally:
            self._free(output)
