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
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


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
    try:
        if patch_type == JSON_PATCH:
            result = json_patch(live, patch)
        elif patch_type == MERGE_PATCH:
            result = merge_patch(live, patch)
        elif patch_type == STRATEGIC_PATCH and isinstance(patch, dict):
            result = strategic_patch(live, patch)
        else:
            raise bad_request("a strategic merge patch is an object")
    except PatchFailed as error:
        if patch_type == STRATEGIC_PATCH:
            raise ApiError(500, "InternalError", str(error)) from None  # what a real server says of a missing merge key
        if not isinstance(patch, list):
            raise bad_request(f"error decoding patch: {error}") from None
        raise ApiError(422, "Invalid", "the server rejected our request due to an error in our request") from None
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise bad_request("the patch leaves no object")
    if result["metadata"].get("resourceVersion") == live["metadata"]["resourceVersion"]:
        _check_identity(kind, live, result)
    return result


def _check_identity(kind: Kind, live: Object, result: Object) -> None:
    """A patch for this version of another object is invalid, where a PUT of one is a conflict."""
    uid = result["metadata"].get("uid")
    if kind.scalable and result.get("kind") == "Scale":
        return
    if uid != live["metadata"]["uid"]:
        raise invalid(
            kind,
            live["metadata"]["name"],
            [("metadata.uid", "FieldValueInvalid", f'Invalid value: "{uid}": field is immutable')],
        )


def applied(kind: Kind, live: Object, wanted: Any, manager: str, *, force: bool) -> Object:
    """The object after a server-side apply onto it. Raises ApiError 409 with every conflicting manager and field."""
    if not isinstance(wanted, dict) or not isinstance(wanted.get("metadata"), dict):
        raise bad_request("an apply configuration is an object with metadata")
    if (wanted.get("apiVersion"), wanted.get("kind")) != (kind.api_version, kind.name):
        raise bad_request(f"invalid object type: {wanted.get('apiVersion', '/')}, Kind={wanted.get('kind', '')}")
    metadata = wanted["metadata"]
    check_preconditions(kind, live, metadata.get("uid"), metadata.get("resourceVersion"))
    conflicts = [] if force else field_managers.apply_conflicts(live, wanted, manager)
    if conflicts:
        causes = [
            {
                "reason": "FieldManagerConflict",
                "message": f'conflict with "{other}" using {kind.api_version}',
                "field": field,
            }
            for other, field in conflicts
        ]
        told = ", ".join(f'conflict with "{other}" using {kind.api_version}: {field}' for other, field in conflicts)
        plural = "conflict" if len(conflicts) == 1 else "conflicts"
        message = f"Apply failed with {len(conflicts)} {plural}: {told}"
        raise ApiError(409, "Conflict", message, details={"causes": causes})
    kept = field_managers.without(live, field_managers.given_up(live, wanted, manager))
    result: Object = strategic_patch(kept, {key: value for key, value in wanted.items() if key != "status"})
    return result
