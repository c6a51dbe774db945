"""The log's tree against the RFC's recursive definition, the reference vectors, and changed proofs (AUD-01)."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.merkle import EMPTY_ROOT, Frontier, Tree, is_consistent, is_included, leaf_hash, node_hash

# Certificate Transparency's reference entries and roots (RFC 6962's test vectors, in every implementation of it).
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH, word for word (RFC 9162, section 2.1.1)."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH, word for word (section 2.1.3.1)."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*naive_path(index, leaves[:split]), naive_root(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive_root(leaves[:split])]


def naive_proof(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF, word for word (section 2.1.4.1)."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if old <= split:
        return [*naive_proof(old, leaves[:split], whole), naive_root(leaves[split:])]
    return [*naive_proof(old - split, leaves[split:], False), naive_root(leaves[:split])]


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


def test_the_reference_roots() -> None:
    tree = Tree()
    assert tree.root() == Frontier().root() == EMPTY_ROOT == naive_root([])
    for entry, root in zip(ENTRIES, ROOTS, strict=True):
        tree.append(leaf_hash(entry))
        assert tree.root().hex() == root
    assert [tree.root(size).hex() for size in range(1, 9)] == ROOTS


@pytest.mark.parametrize("size", range(1, 40))
def test_roots_and_proofs_are_those_of_the_definition(size: int) -> None:
    all_leaves = leaves(size)
    tree, frontier = Tree(all_leaves), Frontier()
    for leaf in all_leaves:
        frontier.append(leaf)
    assert tree.root() == frontier.root() == naive_root(all_leaves)
    for index in range(size):
        proof = tree.inclusion_proof(index, size)
        assert proof == naive_path(index, all_leaves)
        assert is_included(all_leaves[index], index, size, tree.root(), proof)
    for old in range(1, size + 1):
        proof = tree.consistency_proof(old, size)
        assert proof == naive_proof(old, all_leaves)
        assert is_consistent(old, size, tree.root(old), tree.root(), proof)


@given(st.integers(1, 300), st.data())
def test_no_changed_proof_convinces(size: int, data: st.DataObject) -> None:
    tree = Tree(leaves(size))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    path, proof = tree.inclusion_proof(index, size), tree.consistency_proof(old, size)
    leaf, root, before = leaf_hash(b"%d" % index), tree.root(), tree.root(old)
    for changed in _changes(path, data):
        assert not is_included(leaf, index, size, root, changed)
    for changed in _changes(proof, data):
        assert not is_consistent(old, size, before, root, changed)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index)) if size > 1 else size
    assert not is_included(leaf, other, size, root, path)
    assert not is_included(leaf_hash(b"x"), index, size, root, path)
    assert not is_included(leaf, index, size, leaf_hash(b"x"), path)
    assert not is_consistent(old, size, leaf_hash(b"x"), root, proof)
    assert not is_consistent(old, size, before, leaf_hash(b"x"), proof)


def _changes(proof: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    longer = [[*proof, leaf_hash(b"x")], [leaf_hash(b"x"), *proof]]
    if not proof:
        return longer
    place = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytes([proof[place][0] ^ 1]) + proof[place][1:]
    return [
        *longer,
        proof[:-1],
        proof[1:],
        [*proof[:place], flipped, *proof[place + 1 :]],
        [*proof[:place], proof[place][:31], *proof[place + 1 :]],
    ]


@pytest.mark.parametrize(
    ("old", "new"), [(0, 0), (0, 1), (2, 1), (-1, 1), (1, 9)], ids=["empty", "from empty", "back", "negative", "beyond"]
)
def test_there_is_no_consistency_with_nothing(old: int, new: int) -> None:
    """Equal sizes of zero with an empty proof would let any two logs pass for each other."""
    tree = Tree(leaves(8))
    assert not is_consistent(old, new, EMPTY_ROOT, EMPTY_ROOT, [])
    with pytest.raises(ValueError, match="no consistency proof"):
        tree.consistency_proof(old, new)


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (0, 0), (0, 9)])
def test_there_is_no_path_to_a_leaf_that_is_none(index: int, size: int) -> None:
    tree = Tree(leaves(8))
    with pytest.raises(ValueError, match="no leaf"):
        tree.inclusion_proof(index, size)
    assert not is_included(leaf_hash(b"0"), index, size, tree.root(), [])


def test_there_is_no_root_of_what_never_was() -> None:
    for size in (-1, 9):
        with pytest.raises(ValueError, match="8 leaves"):
            Tree(leaves(8)).root(size)
