"""SPDX 2.3 by spdx-tools, checked by its validator."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from interlock.skills.release.cyclonedx_sbom import InvalidSbom, homepage_of
from interlock.skills.repository.licences import LicenceRules, expression_of, parsed_expression
from interlock.skills.repository.model import Context, Dependency

if TYPE_CHECKING:
    from spdx_tools.spdx.model.document import Document
    from spdx_tools.spdx.model.package import Package
    from spdx_tools.spdx.model.relationship import Relationship

_ROOT = "SPDXRef-root"
_SLICE = 200


def spdx_json(context: Context, rules: LicenceRules, now: str) -> str:
    """The document as JSON text. now: RFC 3339; only `creationInfo.created` depends on it. Raises InvalidSbom."""
    from spdx_tools.spdx.model.actor import Actor, ActorType
    from spdx_tools.spdx.model.document import CreationInfo, Document
    from spdx_tools.spdx.writer.json.json_writer import write_document_to_stream

    references: dict[str, str] = {}
    ids = {_place(entry): f"SPDXRef-{number}" for number, entry in enumerate(context.dependencies, 1)}
    main = context.packages[0] if context.packages else None
    root = _package(_ROOT, context.name, context.version, _licence(main.licence if main else "", rules, references))
    root.homepage = homepage_of(context) or None
    packages = [root]
    for entry in context.dependencies:
        package = _package(ids[_place(entry)], entry.name, entry.version, _licence(entry.licence, rules, references))
        _describe(package, entry)
        packages.append(package)
    document = Document(
        creation_info=CreationInfo(
            spdx_version="SPDX-2.3",
            spdx_id="SPDXRef-DOCUMENT",
            name=context.name,
            document_namespace=f"urn:interlock:spdx:{context.digest}",
            creators=[Actor(ActorType.TOOL, "interlock-generating-sbom")],
            created=datetime.fromisoformat(now).replace(microsecond=0, tzinfo=None),
        ),
        packages=packages,
        relationships=_relationships(context, ids),
        extracted_licensing_info=_extracted(references),
    )
    _check(document)
    stream = io.StringIO()
    write_document_to_stream(document, stream, validate=False, drop_duplicates=False)
    return json.dumps(json.loads(stream.getvalue()), indent=2, ensure_ascii=False) + "\n"


def _check(document: Document) -> None:
    """Validates in slices of packages with the relationships among them: the validator searches the whole document
    for every package and every end of a relationship. Up to 200 packages, one slice is the document.
    """
    from spdx_tools.spdx.model.document import Document
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    root, packages = document.packages[0], document.packages[1:]
    for start in range(0, max(len(packages), 1), _SLICE):
        part = [root, *packages[start : start + _SLICE]]
        known = {"SPDXRef-DOCUMENT", *(package.spdx_id for package in part)}
        among = [
            entry
            for entry in document.relationships
            if entry.spdx_element_id in known and entry.related_spdx_element_id in known
        ]
        slice_ = Document(
            document.creation_info,
            packages=part,
            relationships=among,
            extracted_licensing_info=document.extracted_licensing_info,
        )
        messages = validate_full_spdx_document(slice_, "SPDX-2.3")
        if messages:
            raise InvalidSbom(f"SPDX: {messages[0].validation_message[:300]}")


def _place(entry: Dependency) -> tuple[str, str, str]:
    return (entry.ecosystem, entry.name, entry.version)


def _package(spdx_id: str, name: str, version: str, licence: Any) -> Package:
    from spdx_tools.spdx.model.package import Package
    from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion

    return Package(
        spdx_id=spdx_id,
        name=name,
        version=version or None,
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        license_concluded=SpdxNoAssertion(),
        license_declared=licence,
        copyright_text=SpdxNoAssertion(),
    )


def _describe(package: Package, entry: Dependency) -> None:
    from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm
    from spdx_tools.spdx.model.package import ExternalPackageRef, ExternalPackageRefCategory, PackagePurpose

    package.primary_package_purpose = PackagePurpose.LIBRARY
    package.external_references = [ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", entry.purl)]
    if entry.ecosystem == "npm":
        package.checksums = [
            Checksum(ChecksumAlgorithm[kind.upper()], digest)
            for kind, _, digest in (value.partition(":") for value in entry.hashes)
        ]


def _licence(text: str, rules: LicenceRules, references: dict[str, str]) -> Any:
    """A parsed expression, or NOASSERTION. references collects what LicenseRef ids stand for."""
    from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion

    if not text:
        return SpdxNoAssertion()
    expression = expression_of(text, rules)
    if not expression:
        expression = "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.")[:80] or "unnamed")
    for name in re.findall(r"LicenseRef-[A-Za-z0-9.-]+", expression):
        references.setdefault(name, text)
    return parsed_expression(expression)


def _extracted(references: dict[str, str]) -> list[Any]:
    from spdx_tools.spdx.model.extracted_licensing_info import ExtractedLicensingInfo

    return [
        ExtractedLicensingInfo(name, f"As its manifest writes it: {text}") for name, text in sorted(references.items())
    ]


def _relationships(context: Context, ids: dict[tuple[str, str, str], str]) -> list[Relationship]:
    from spdx_tools.spdx.model.relationship import Relationship, RelationshipType

    kinds = {
        "dev": RelationshipType.DEV_DEPENDENCY_OF,
        "build": RelationshipType.BUILD_DEPENDENCY_OF,
        "optional": RelationshipType.OPTIONAL_DEPENDENCY_OF,
    }
    named: dict[tuple[str, str], str] = {}
    for place, spdx_id in ids.items():
        named.setdefault(place[:2], spdx_id)
    found = [Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, _ROOT)]
    for entry in context.dependencies:
        own = ids[_place(entry)]
        if entry.direct and entry.scope == "runtime":
            found.append(Relationship(_ROOT, RelationshipType.DEPENDS_ON, own))
        elif entry.direct:
            found.append(Relationship(own, kinds[entry.scope], _ROOT))
        needed = (named.get((entry.ecosystem, name)) for name in entry.requires)
        found += [Relationship(own, RelationshipType.DEPENDS_ON, other) for other in needed if other and other != own]
    return found
