"""Where decision logs of a workspace are, wherever `-o` or a blueprint put them: who opens one leaves a note for the console.

A note is a file of its own, so that two that begin at once need no lock.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from interlock.agents.workspace.layout import Layout

MOST_PLACES = 16


def note_place(layout: Layout, directory: Path) -> None:
    """The newest MOST_PLACES are kept."""
    notes = layout.decision_places
    notes.mkdir(parents=True, exist_ok=True)
    text = str(directory.absolute())
    (notes / hashlib.sha256(text.encode()).hexdigest()[:32]).write_text(text)
    for old in _newest_first(notes)[MOST_PLACES:]:
        old.unlink(missing_ok=True)


def noted_places(layout: Layout) -> list[Path]:
    """Those that are there, the newest first."""
    found = []
    for note in _newest_first(layout.decision_places):
        with suppress(OSError, ValueError):
            place = Path(note.read_text())
            if place.is_absolute() and place.is_dir():
                found.append(place)
    return found


def _newest_first(notes: Path) -> list[Path]:
    timed = []
    for note in notes.glob("*"):
        with suppress(OSError):  # gone meanwhile
            timed.append((note.stat().st_mtime_ns, note))
    return [note for _, note in sorted(timed, reverse=True)]
