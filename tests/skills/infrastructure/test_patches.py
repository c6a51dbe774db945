"""RFC 6902 appendix A, RFC 7386 appendix A, and the lists that strategic merge patches merge by key."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.skills.infrastructure.patches import (
    PatchFailed,
    json_patch,
    merge_patch,
    strategic_patch,
)

JSON_PATCHES: list[tuple[Any, Any, Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"foo": "bar", "baz": 1}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["a", "b", "c"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["a", "c"]}),
    ({"foo": "bar"}, [{"op": "replace", "path": "/foo", "value": "x"}], {"foo": "x"}),
    ({"a": {"x": 1}, "b": {}}, [{"op": "move", "from": "/a/x", "path": "/b/y"}], {"a": {}, "b": {"y": 1}}),
    ({"foo": [1, 2, 3]}, [{"op": "move", "from": "/foo/0", "path": "/foo/2"}], {"foo": [2, 3, 1]}),
    ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
    ({"a/b": 1, "m~n": 2}, [{"op": "replace", "path": "/m~0n", "value": 3}], {"a/b": 1, "m~n": 3}),
    ({"a/b": 1}, [{"op": "copy", "from": "/a~1b", "path": "/c"}], {"a/b": 1, "c": 1}),
    ({"foo": None}, [{"op": "test", "path": "/foo", "value": None}], {"foo": None}),
    ({"foo": 1}, [{"op": "add", "path": "", "value": {"new": 2}}], {"new": 2}),
]


@pytest.mark.parametrize(("target", "patch", "wanted"), JSON_PATCHES)
def test_json_patches(target: Any, patch: Any, wanted: Any) -> None:
    before = repr(target)
    assert json_patch(target, patch) == wanted
    assert repr(target) == before, "the target stays as it was"


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "remove", "path": "/nothing"}],
        [{"op": "replace", "path": "/nothing", "value": 1}],
        [{"op": "add", "path": "/no/where", "value": 1}],
        [{"op": "add", "path": "/list/9", "value": 1}],
        [{"op": "add", "path": "/list/01x", "value": 1}],
        [{"op": "test", "path": "/foo", "value": "other"}],
        [{"op": "add", "path": "/foo"}],
        [{"op": "add", "path": "foo", "value": 1}],
        [{"op": "burn", "path": "/foo"}],
        [{"op": "remove", "path": ""}],
        ["add"],
        "add",
    ],
)
def test_json_patches_that_do_not_fit(patch: Any) -> None:
    with pytest.raises(PatchFailed):
        json_patch({"foo": "bar", "list": [1]}, patch)


@pytest.mark.parametrize(
    ("target", "patch", "wanted"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches(target: Any, patch: Any, wanted: Any) -> None:
    assert merge_patch(target, patch) == wanted


TWO = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}


@pytest.mark.parametrize(
    ("target", "patch", "wanted"),
    [
        (TWO, {"containers": [{"name": "b", "image": "2"}]}, ["a:1", "b:2"]),
        (TWO, {"containers": [{"name": "c", "image": "3"}]}, ["a:1", "b:1", "c:3"]),
        (TWO, {"containers": [{"name": "a", "$patch": "delete"}]}, ["b:1"]),
        (TWO, {"containers": [{"$patch": "replace"}, {"name": "c", "image": "3"}]}, ["c:3"]),
        (TWO, {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, ["b:1", "a:1"]),
    ],
)
def test_strategic_patches_of_containers(target: Any, patch: Any, wanted: list[str]) -> None:
    result = strategic_patch(target, patch)
    assert [f"{one['name']}:{one['image']}" for one in result["containers"]] == wanted


@pytest.mark.parametrize(
    ("target", "patch", "wanted"),
    [
        ({"strategy": {"a": 1, "b": 2}}, {"strategy": {"$retainKeys": ["c"], "c": 3}}, {"strategy": {"c": 3}}),
        ({"spec": {"a": 1}}, {"spec": {"$patch": "replace", "b": 2}}, {"spec": {"b": 2}}),
        ({"spec": {"a": 1}}, {"spec": {"$patch": "delete"}}, {"spec": {}}),
        ({"finalizers": ["a", "b"]}, {"$deleteFromPrimitiveList/finalizers": ["a"]}, {"finalizers": ["b"]}),
        ({"finalizers": ["a"]}, {"finalizers": ["b"]}, {"finalizers": ["a", "b"]}),
        ({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
        (
            {"ports": [{"port": 80, "name": "x"}]},
            {"ports": [{"port": 80, "name": "y"}]},
            {"ports": [{"port": 80, "name": "y"}]},
        ),
    ],
)
def test_strategic_directives(target: Any, patch: Any, wanted: Any) -> None:
    assert strategic_patch(target, patch) == wanted
