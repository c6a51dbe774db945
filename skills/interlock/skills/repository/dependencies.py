"""All manifests' dependencies as one inventory: what a manifest names, joined with the version its lock file chose."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from interlock.skills.repository.model import Dependency, Manifest, Scope

_STRENGTH: dict[Scope, int] = {"runtime": 0, "optional": 1, "build": 2, "dev": 3}


def inventory(manifests: Iterable[Manifest]) -> list[Dependency]:
    """One entry per package and version, sorted. A direct dependency takes the version of the nearest lock file."""
    every = [entry for manifest in manifests for entry in manifest.dependencies]
    own = {(m.package.ecosystem, m.package.name) for m in manifests if m.package is not None and m.package.name}
    locked: dict[tuple[str, str], list[Dependency]] = {}
    for entry in every:
        if entry.locked:
            locked.setdefault((entry.ecosystem, entry.name), []).append(entry)
    every = _compiled_apart(every)
    merged: dict[tuple[str, str, str], Dependency] = {}
    for entry in every:
        if (entry.ecosystem, entry.name) in own and not entry.hashes:
            continue  # a workspace member of the same tree
        chosen = entry
        if not entry.locked and entry.origin == "registry":
            candidates = locked.get((entry.ecosystem, entry.name), [])
            match = next((item for item in candidates if item.version == entry.version), None)
            if candidates:
                base = match or min(candidates, key=lambda item: (not _near(item, entry), item.source))
                chosen = _at(base, entry)
        place = (chosen.ecosystem, chosen.name, chosen.version)
        merged[place] = _joined(merged[place], chosen) if place in merged else chosen
    return _scoped(sorted(merged.values(), key=lambda item: (item.ecosystem, item.name, item.version)))


def _compiled_apart(every: list[Dependency]) -> list[Dependency]:
    """A compiled requirements file (a hash on every line) names everything alike; what is direct, the manifest beside
    it tells. Where there is no such manifest, all of it is direct.
    """
    told = any(entry.direct and not entry.locked for entry in every if entry.ecosystem == "pypi")
    if not told:
        return every
    return [replace(entry, direct=False) if entry.direct and entry.locked else entry for entry in every]


def _at(lock: Dependency, named: Dependency) -> Dependency:
    """The locked package, as the manifest names it."""
    return replace(
        lock, direct=True, specifier=named.specifier, scope=named.scope, line=named.line, source=named.source
    )


def _near(lock: Dependency, entry: Dependency) -> bool:
    return entry.source.startswith(lock.source.rpartition("/")[0])


def _joined(first: Dependency, second: Dependency) -> Dependency:
    """The same package found twice: what is stronger or known wins; where it is named beats where it is locked."""
    named = second if second.direct and not first.direct else first
    return replace(
        named,
        direct=first.direct or second.direct,
        locked=first.locked or second.locked,
        scope=min(first.scope, second.scope, key=lambda scope: _STRENGTH[scope])
        if first.direct == second.direct
        else named.scope,
        licence=first.licence or second.licence,
        hashes=first.hashes or second.hashes,
        requires=sorted({*first.requires, *second.requires}),
        specifier=named.specifier or second.specifier,
    )


def _scoped(found: list[Dependency]) -> list[Dependency]:
    """Lock files of Python tell no scope for what is only needed indirectly: it takes the strongest of those that
    need it. What nobody is seen to need keeps its own.
    """
    by_name: dict[tuple[str, str], list[int]] = {}
    for index, entry in enumerate(found):
        by_name.setdefault((entry.ecosystem, entry.name), []).append(index)
    best: dict[int, Scope] = {index: entry.scope for index, entry in enumerate(found) if entry.direct}
    queue = sorted(best, key=lambda index: _STRENGTH[best[index]])
    while queue:
        index = queue.pop(0)
        for name in found[index].requires:
            for needed in by_name.get((found[index].ecosystem, name), []):
                known = best.get(needed)
                if known is None or _STRENGTH[best[index]] < _STRENGTH[known]:
                    best[needed] = best[index]
                    queue.append(needed)
    return [
        replace(entry, scope=best[index]) if entry.ecosystem == "pypi" and index in best else entry
        for index, entry in enumerate(found)
    ]
