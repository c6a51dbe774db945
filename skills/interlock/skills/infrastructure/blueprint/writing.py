"""A blueprint as a document again: `read_blueprint(yaml_text(blueprint))` gives the same blueprint."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from interlock.bus.yaml12 import plain_scalar
from interlock.skills.infrastructure.blueprint.format import leaves, leaves_by_field
from interlock.skills.infrastructure.blueprint.model import API_VERSION, KIND, Blueprint
from interlock.skills.infrastructure.blueprint.values import written


def document(blueprint: Blueprint) -> dict[str, Any]:
    """Everything it says and everything it leaves to defaults, in the order of the format. Plain values."""
    fields = flat_fields(blueprint)
    result: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND}
    for path, value in flat_document(fields).items():
        *sections, last = path.split(".")
        at = result
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = value
    return result


def flat_document(fields: dict[str, Any]) -> dict[str, Any]:
    """Path → value as a document has it. Empty values that mean the same as nothing are left out."""
    return {
        leaf.path: written(leaf, fields[leaf.field])
        for leaf in leaves().values()
        if leaf.field and fields.get(leaf.field) not in (None, "")
    }


def flat_fields(blueprint: Blueprint) -> dict[str, Any]:
    """Field → plain value, one cooldown where both are the same."""
    fields: dict[str, Any] = {}
    known = leaves_by_field()

    def put(value: Any, at: str) -> None:
        if at not in known and isinstance(value, dict):
            for key, item in value.items():
                put(item, f"{at}.{key}" if at else key)
        else:
            fields[at] = value

    put(msgspec.json.decode(msgspec.json.encode(blueprint)), "")
    up, down = fields["scaling.scale_up_cooldown_ms"], fields["scaling.scale_down_cooldown_ms"]
    if up == down:
        fields["scaling.cooldown_ms"] = up
        del fields["scaling.scale_up_cooldown_ms"], fields["scaling.scale_down_cooldown_ms"]
    return fields


def yaml_text(blueprint: Blueprint) -> str:
    """The document as YAML 1.2."""
    import yaml

    return str(yaml.dump(document(blueprint), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120))


@cache
def _dumper() -> Any:
    """PyYAML quotes what YAML 1.1 would misread; this one also what YAML 1.2 reads as something else than text."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: Any, value: str) -> Any:
        style = None if plain_scalar(value) == value else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper
