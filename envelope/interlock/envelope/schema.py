"""The envelope's JSON Schema (2020-12), for other languages."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock.envelope.model import Envelope


def envelope_schema() -> dict[str, Any]:
    """JSON Schema of an envelope on the wire. The canonical form and the signature are beyond what it can say."""
    (_,), components = msgspec.json.schema_components([Envelope], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Interlock envelope 1.0",
        "$ref": "#/$defs/Envelope",
        "$defs": components,
    }
