"""Random text from a seed, for lines of logs."""

from __future__ import annotations

import base64
import random

LOWER, UPPER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
ALNUM, HEX, BASE32 = UPPER + LOWER + DIGITS, "0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Maker:
    """Random text from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def of(self, letters: str, length: int) -> str:
        return "".join(self._random.choices(letters, k=length))

    def mixed(self, length: int) -> str:
        """With at least a letter and a digit."""
        return self.of(LOWER, 1) + self.of(ALNUM, length - 2) + self.of(DIGITS, 1)

    def base64(self, size: int) -> str:
        return base64.b64encode(self._random.randbytes(size)).decode()

    def base64url(self, size: int) -> str:
        return base64.urlsafe_b64encode(self._random.randbytes(size)).decode().rstrip("=")

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)
