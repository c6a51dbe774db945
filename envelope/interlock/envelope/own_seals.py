"""What this process sealed itself, for one that hosts several agents: their own words need no second signature
(docs/adr/0019).
"""

from __future__ import annotations


class OwnSeals:
    """SHA-256 digests of wire bytes that came out of `signing.seal` in this process. Bytes with such a digest are those
    bytes, so their signature is good: the verdict is the one that checking it would give. Whether its key may still
    sign is asked every time. Bounded: what was forgotten is checked as a stranger's.

    Given by hand to the senders and receivers of one process, and to nobody who judges others: an auditor has none.
    """

    def __init__(self, capacity: int = 65_536) -> None:
        self._capacity = capacity
        self._known: dict[str, None] = {}

    def keep(self, digest: str) -> None:
        known = self._known
        known.pop(digest, None)  # sent again: as if it were new
        if len(known) >= self._capacity:
            del known[next(iter(known))]
        known[digest] = None

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    def __len__(self) -> int:
        return len(self._known)
