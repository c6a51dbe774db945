"""Questions at a terminal, one at a time: an answer is for the question that is shown, never for one that was taken back or
for one that somebody else asks meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TextIO

import anyio


class Terminal:
    """The lines that a human types. A line that nobody asked for is dropped."""

    def __init__(self) -> None:
        self._turn = anyio.Lock()
        self._answer: asyncio.Future[str] | None = None
        self._is_reading = False

    async def ask(self, question: str, out: TextIO) -> str:
        """Shows the question once all earlier ones are answered or cancelled; the line typed after it, "" at the end of the
        input.
        """
        async with self._turn:
            loop = asyncio.get_running_loop()
            self._answer = loop.create_future()
            out.write(question)
            out.flush()
            if not self._is_reading:
                self._is_reading = True
                # Nothing ends a thread that waits for a human: it must not hold the process up.
                threading.Thread(target=self._read, args=[loop], daemon=True).start()
            try:
                return await self._answer
            finally:
                self._answer = None

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        line = sys.stdin.readline()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._arrived, line)

    def _arrived(self, line: str) -> None:
        self._is_reading = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(line)


TERMINAL = Terminal()
