"""PATCH: the type of patch from the content type, the patched object, and server-side apply."""

from __future__ import annotations

import json
from typing import Any

from interlock.skills.infrastructure.fake_cluster import field_managers, protobuf
from interlock.skills.infrastructure.fake_cluster.kinds import Kind
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError, bad_request, invalid
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.writing import check_preconditions
from interlock.skills.infrastructure.patches import PatchFailed, json_patch, merge_patch, strategic_patch

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def body_value(body: bytes, content_type: str) -> Any:
    """What a body says: JSON, or YAML for an apply. Raises ApiError 400 or 415."""
    kind = content_type.partition(";")[0].strip()
    if kind == APPLY_PATCH or kind == "application/yaml":
        import yaml

        try:
            return yaml.safe_load(body)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise bad_request(f"error decoding YAML: {error}") from None
    if kind == protobuf.CONTENT_TYPE:
        try:
            return protobuf.decode(body)
        except ValueError as error:
            raise ApiError(415, "UnsupportedMediaType", f"the body was in an unknown format: {error}") from None
    if kind and "json" not in kind:
        raise ApiError(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"error decoding JSON: {error}") from None


def patched(kind: Kind, live: Object, patch: Any, content_type: str) -> Object:
    """The object after a patch that is no apply, before defaults and checks. Raises ApiError."""
    patch_type = content_type.partition(";")[0].strip()
    name = live["metadata"]["name"]
    try:
        if patch_type == JSON_PATCH:
            result = json_patch(live, patch)
        elif patch_type == MERGE_PATCH:
            result = merge_patch(live, patch)
        elif patch_type == STRATEGIC_PATCH and isinstance(patch, dict):
            result = strategic_patch(live, patch)
        elif patch_type == STRATEGIC_PATCH:
            raise bad_request("a strategic merge patch is an object")
        else:
            wanted = ", ".join((JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH))
            raise ApiError(
                415,
                "UnsupportedMediaType",
                f"the body of the request was in an unknown format - accepted media types include: {wanted}",
            )
    except PatchFailed as error:
        if error.test or patch_type == JSON_PATCH:
            raise invalid(kind, name, [("patch", "FieldValueInvalid", str(error))]) from None
        raise bad_request(str(error)) from None
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise bad_request("the patch leaves no object")
    return result


def applied(kind: Kind, live: Object, wanted: Any, manager: str, *, force: bool) -> Object:
    """The object after a server-side apply onto it. Raises ApiError 409 with every conflicting manager and field."""
    if not isinstance(wanted, dict) or not isinstance(wanted.get("metadata"), dict):
        raise bad_request("an apply configuration is an object with metadata")
    metadata = wanted["metadata"]
    check_preconditions(kind, live, metadata.get("uid"), metadata.get("resourceVersion"))
    conflicts = [] if force else field_managers.apply_conflicts(live, wanted, manager)
    if conflicts:
        causes = [
            {"reason": "FieldManagerConflict", "message": f'conflict with "{other}"', "field": field}
            for other, field in conflicts
        ]
        told = ", ".join(f'"{other}": {field}' for other, field in conflicts)
        plural = "conflict" if len(conflicts) == 1 else "conflicts"
        message = f"Apply failed with {len(conflicts)} {plural}: {told}"
        raise ApiError(409, "Conflict", message, details={"causes": causes})
    kept = field_managers.without(live, field_managers.given_up(live, wanted, manager))
    result: Object = strategic_patch(kept, {key: value for key, value in wanted.items() if key != "status"})
    return result
