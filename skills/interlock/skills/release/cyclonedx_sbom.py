"""CycloneDX 1.6 by cyclonedx-python-lib, checked by its strict validator."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.skills.repository.licences import LicenceRules, expression_of
from interlock.skills.repository.model import Context, Dependency
from interlock.skills.repository.names import is_web_address

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

_SLICE = 50
_NAMESPACE = uuid.UUID("0f4d1d7e-5c0e-5d5e-9a53-4b2f0a6a7c11")


class InvalidSbom(Exception):
    """The document does not validate: a fault of this program, never of the tree."""


def cyclonedx_json(context: Context, rules: LicenceRules, now: str) -> str:
    """The document as JSON text. now: RFC 3339; only `metadata.timestamp` depends on it. Raises InvalidSbom."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.output.json import JsonV1Dot6

    root = _root(context, rules)
    components = {entry: _component(entry, rules) for entry in map(_key, context.dependencies)}
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, context.digest),
        metadata=BomMetaData(component=root, timestamp=datetime.fromisoformat(now), tools=[]),
        components=components.values(),
    )
    _connect(bom, root, context, components)
    text = JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
    _check(text)
    return text


class _Keyed:
    """A dependency as a key: by identity, since lists inside it have no hash."""

    def __init__(self, dependency: Dependency) -> None:
        self.dependency = dependency
        self.ref = f"{dependency.ecosystem}:{dependency.name}@{dependency.version}"

    def __hash__(self) -> int:
        return hash(self.ref)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and other.ref == self.ref


def _key(dependency: Dependency) -> _Keyed:
    return _Keyed(dependency)


def _root(context: Context, rules: LicenceRules) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    main = context.packages[0] if context.packages else None
    return Component(
        name=context.name,
        version=context.version or None,
        type=ComponentType.APPLICATION if context.entry_points else ComponentType.LIBRARY,
        bom_ref="root",
        description=context.description or None,
        licenses=_licences(main.licence, rules) if main and main.licence else [],
    )


def _component(keyed: _Keyed, rules: LicenceRules) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentScope, ComponentType
    from packageurl import PackageURL

    entry = keyed.dependency
    group, _, name = entry.name.rpartition("/")
    algorithms = {
        "sha1": HashAlgorithm.SHA_1,
        "sha256": HashAlgorithm.SHA_256,
        "sha384": HashAlgorithm.SHA_384,
        "sha512": HashAlgorithm.SHA_512,
    }
    scopes = {"runtime": ComponentScope.REQUIRED, "optional": ComponentScope.OPTIONAL}
    # One artefact has one hash; a Python package with many wheels has many, and they would not describe one component.
    single = entry.hashes if entry.ecosystem == "npm" else []
    return Component(
        name=name,
        group=group or None,
        version=entry.version or None,
        type=ComponentType.LIBRARY,
        bom_ref=keyed.ref,
        scope=scopes.get(entry.scope, ComponentScope.EXCLUDED),
        purl=PackageURL.from_string(entry.purl),
        licenses=_licences(entry.licence, rules) if entry.licence else [],
        hashes=[
            HashType(alg=algorithms[kind], content=digest) for kind, _, digest in (h.partition(":") for h in single)
        ],
        properties=[
            Property(name="interlock:direct", value=str(entry.direct).lower()),
            Property(name="interlock:source", value=entry.source),
            *([Property(name="interlock:origin", value=entry.origin)] if entry.origin != "registry" else []),
        ],
    )


def _licences(text: str, rules: LicenceRules) -> list[License]:
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.spdx import is_supported_id

    expression = expression_of(text, rules)
    if is_supported_id(expression):
        return [DisjunctiveLicense(id=expression)]
    return [LicenseExpression(expression)] if expression else [DisjunctiveLicense(name=text)]


def _connect(bom: Bom, root: Component, context: Context, components: dict[_Keyed, Component]) -> None:
    """The dependency graph: the root needs what is direct; lock files tell the rest by name. Set at once, since the
    library's register_dependency searches all of it for every edge.
    """
    from cyclonedx.model.dependency import Dependency as Edge

    named: dict[tuple[str, str], Component] = {}
    for keyed, component in components.items():
        named.setdefault((keyed.dependency.ecosystem, keyed.dependency.name), component)
    direct = [component for keyed, component in components.items() if keyed.dependency.direct]
    edges = [Edge(root.bom_ref, [Edge(component.bom_ref) for component in direct])]
    for keyed, component in components.items():
        entry = keyed.dependency
        needed = [named[key] for key in ((entry.ecosystem, name) for name in entry.requires) if key in named]
        edges.append(Edge(component.bom_ref, [Edge(other.bom_ref) for other in needed if other is not component]))
    bom.dependencies = edges


def _check(text: str) -> None:
    """Validates in slices: comparing all components pairwise, as `uniqueItems` does, takes a minute for 3,000. What
    holds for the whole is that references are unique.
    """
    from cyclonedx.schema import SchemaVersion

    from interlock.skills.schemas import jsonschema_library

    jsonschema_library()
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    document = json.loads(text)
    components, edges = document.get("components", []), document.get("dependencies", [])
    if len({entry["bom-ref"] for entry in components}) != len(components):
        raise InvalidSbom("CycloneDX: a component is there twice")
    for start in range(0, max(len(components), len(edges), 1), _SLICE):
        part = {
            **document,
            "components": components[start : start + _SLICE],
            "dependencies": edges[start : start + _SLICE],
        }
        error = validator.validate_str(json.dumps(part))
        if error is not None:
            raise InvalidSbom(f"CycloneDX: {str(error)[:300]}")


def homepage_of(context: Context) -> str:
    """The main package's homepage, if it is a plain web address."""
    address = context.packages[0].homepage if context.packages else ""
    return address if is_web_address(address) else ""
