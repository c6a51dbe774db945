"""Bodies in protobuf, as typed Go clients send them (helm keeps its releases so). Only the messages that such clients send
here are known; field numbers are those of the generated.proto files of k8s.io/api and k8s.io/apimachinery.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# Field number → name and kind: text, bytes, int, bool, a message, a map to text or bytes; a list of one thing repeats.
Message = dict[int, tuple[str, Any]]

_METADATA: Message = {
    1: ("name", "text"),
    2: ("generateName", "text"),
    3: ("namespace", "text"),
    5: ("uid", "text"),
    6: ("resourceVersion", "text"),
    11: ("labels", "map text"),
    12: ("annotations", "map text"),
    14: ("finalizers", ["text"]),
}
_ATTRIBUTES: Message = {
    1: ("namespace", "text"),
    2: ("verb", "text"),
    3: ("group", "text"),
    4: ("version", "text"),
    5: ("resource", "text"),
    6: ("subresource", "text"),
    7: ("name", "text"),
}
_MESSAGES: dict[str, Message] = {
    "Secret": {
        1: ("metadata", _METADATA),
        2: ("data", "map bytes"),
        3: ("type", "text"),
        4: ("stringData", "map text"),
        5: ("immutable", "bool"),
    },
    "ConfigMap": {1: ("metadata", _METADATA), 2: ("data", "map text"), 3: ("binaryData", "map bytes")},
    "Namespace": {1: ("metadata", _METADATA)},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "int"),
        2: ("preconditions", {1: ("uid", "text"), 2: ("resourceVersion", "text")}),
        4: ("propagationPolicy", "text"),
        5: ("dryRun", ["text"]),
    },
    "SelfSubjectAccessReview": {1: ("metadata", _METADATA), 2: ("spec", {1: ("resourceAttributes", _ATTRIBUTES)})},
}
_UNKNOWN: Message = {1: ("typeMeta", {1: ("apiVersion", "text"), 2: ("kind", "text")}), 2: ("raw", "raw")}


def decode(body: bytes) -> dict[str, Any]:
    """The object as JSON would say it. Raises ValueError: no such message, or cut."""
    if not body.startswith(_MAGIC):
        raise ValueError("no protobuf of Kubernetes")
    envelope = _message(body[len(_MAGIC) :], _UNKNOWN)
    about = envelope.get("typeMeta", {})
    if about.get("kind") not in _MESSAGES:
        raise ValueError(f"no message {about.get('kind')!r} is known here")
    told = _message(envelope.get("raw", b""), _MESSAGES[about["kind"]])
    return {"apiVersion": about.get("apiVersion", ""), "kind": about["kind"], **told}


def _message(data: bytes, message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        if number not in message:
            continue
        name, kind = message[number]
        if isinstance(kind, list):
            found.setdefault(name, []).append(_value(value, kind[0]))
        elif isinstance(kind, str) and kind.startswith("map "):
            key, inner = _pair(value, kind.removeprefix("map "))
            found.setdefault(name, {})[key] = inner
        elif (told := _value(value, kind)) not in ("", 0, False):
            found[name] = told
    return found


def _pair(data: Any, kind: str) -> tuple[str, Any]:
    entry = _message(_value(data, "raw"), {1: ("key", "text"), 2: ("value", kind)})
    return entry.get("key", ""), entry.get("value", "")


def _value(value: Any, kind: Any) -> Any:
    if isinstance(value, int) is not (kind in ("int", "bool")):
        raise ValueError("the message is not of this kind")
    if isinstance(kind, dict):
        return _message(value, kind)
    if kind in ("int", "bool"):
        return bool(value) if kind == "bool" else value
    if kind == "raw":
        return value
    return base64.b64encode(value).decode() if kind == "bytes" else value.decode()


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("the message is cut")
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {tag & 7} is not expected")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the message is cut")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
