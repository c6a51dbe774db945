"""The pictures of docs/console.md: whether they are wanted, where they lie, and how they become small."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PICTURES = ROOT / "docs" / "console"
WRITE = os.environ.get("INTERLOCK_WRITE_DOCS") == "1"


def small(picture: bytes, path: Path) -> None:
    """With the 256 colours that it has most of, the bright ones first: grounds stay apart which differ by little, and a
    small mark keeps its colour.
    """
    from PIL import Image

    shot = Image.open(io.BytesIO(picture)).convert("RGB")
    found: list[tuple[int, Any]] = shot.getcolors(shot.width * shot.height) or []
    commonest = [colour for _, colour in sorted(found, key=lambda one: one[0] * (max(one[1]) - min(one[1]) + 1) ** 2)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in commonest[-256:] for part in colour])
    shot.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
