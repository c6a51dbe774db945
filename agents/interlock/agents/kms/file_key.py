"""`file:PATH` or `file:///PATH`: an NKey seed on disk. Every character of the path stands for itself."""

from __future__ import annotations

from pathlib import Path

from interlock.agents.errors import UserError
from interlock.agents.kms.signatures import ED25519, Signer
from interlock.envelope.keys import KeyFormatError, SigningKey

MAX_BYTES = 4096


def open_key(place: str) -> Signer:
    path = Path("/" + place.lstrip("/") if place.startswith("///") else place)
    try:
        with path.open("rb") as file:
            key = SigningKey.from_seed_text(file.read(MAX_BYTES).decode())
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise UserError("no_key", f"{path}: {why}", "Name a seed file: file:/path/to/key.nk") from error
    except KeyFormatError as error:
        raise UserError("bad_key", f"{path}: {error}", "Name a seed file made by `interlock init`") from error
    return Signer(ED25519, key.key_id, "", key.sign)
