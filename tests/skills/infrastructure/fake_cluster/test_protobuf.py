from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.skills.infrastructure.fake_cluster.protobuf import decode


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def message(kind: bytes, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, b"v1") + field(2, kind)) + field(2, raw)


METADATA = field(1, field(1, b"web") + field(11, field(1, b"owner") + field(2, b"helm")))
SECRET = message(b"Secret", METADATA + field(2, field(1, b"release") + field(2, b"\x00\xff")) + field(3, b"x/y"))


def test_a_secret_as_helm_sends_it() -> None:
    assert decode(SECRET) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "web", "labels": {"owner": "helm"}},
        "data": {"release": "AP8="},
        "type": "x/y",
    }


def test_options_of_a_deletion() -> None:
    body = message(b"DeleteOptions", field(1, 30) + field(2, field(1, b"u")) + field(5, b"All"))
    assert decode(body) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 30,
        "preconditions": {"uid": "u"},
        "dryRun": ["All"],
    }


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"k8s\x00", message(b"Deployment", b""), SECRET[:-1], b"k8s\x00\x0d", b"k8s\x00" + b"\xff" * 20],
)
def test_what_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        decode(b"k8s\x00" + body)
    except ValueError:
        pass
