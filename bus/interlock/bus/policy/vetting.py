"""What is refused of policies before the engine sees them: each of these would be silently undefined, or worse.

Calls of builtins that are not allowed, names nobody defines, fields the input does not have, packages outside of
`interlock`, two modules in one package, and a workspace's module anywhere but in `interlock.workspace`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interlock.bus.policy.builtins import ALLOWED, ALLOWED_IN_TESTS, is_forbidden
from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.rego_source import Reference, Source

ROOT = "interlock"
WORKSPACE = (ROOT, "workspace")
MAIN = (ROOT, "main")
TEST = "_test.rego"


def vet(sources: Sequence[Source], input_paths: frozenset[tuple[str, ...]]) -> None:
    """Raises PolicyError for the first thing wrong, with file and line. Modules that test may replace inputs."""
    packages: dict[tuple[str, ...], Source] = {}
    for source in sources:
        _vet_place(source, packages)
        packages[source.package] = source
    for source in sources:
        if source.replaces and not source.name.endswith(TEST):
            raise PolicyError("policy_forbidden", f"{source.name}:{source.replaces}: `with` belongs in tests")
        builtins = ALLOWED_IN_TESTS if source.name.endswith(TEST) else ALLOWED
        for reference in source.references:
            _vet_reference(source, reference, packages, input_paths, builtins)


def _vet_place(source: Source, packages: Mapping[tuple[str, ...], Source]) -> None:
    package, told = source.package, ".".join(source.package)
    if package[0] != ROOT or len(package) < 2:
        raise PolicyError("policy_package", f"{source.name}: package {told} is not below {ROOT}")
    if source.name.startswith("workspace/") and (package[:2] != WORKSPACE or len(package) != 3):
        detail = f"{source.name}: a workspace's package is {ROOT}.workspace.NAME, not {told}"
        raise PolicyError("policy_package", detail, "It can deny or ask for approval; it cannot allow more")
    if not source.name.startswith("workspace/") and package[:2] == WORKSPACE:
        raise PolicyError("policy_package", f"{source.name}: package {told} is for workspaces")
    for other, owner in packages.items():
        shared = min(len(other), len(package))
        if other[:shared] == package[:shared]:
            detail = f"{source.name}: package {told} is already that of {owner.name}, or holds it"
            raise PolicyError("policy_package", detail, "One module to a package: another could add rules to it")


def _vet_reference(
    source: Source,
    reference: Reference,
    packages: Mapping[tuple[str, ...], Source],
    input_paths: frozenset[tuple[str, ...]],
    builtins: frozenset[str],
) -> None:
    path, where = reference.path, f"{source.name}:{reference.line}"
    name = ".".join(path)
    if path[0] == "input":
        if path[1:] and path[1:] not in input_paths:
            raise PolicyError(
                "policy_unknown_input", f"{where}: the input has no `{name}`", "docs/policies.md lists it"
            )
        if reference.open and any(
            len(known) > len(path) - 1 and known[: len(path) - 1] == path[1:] for known in input_paths
        ):
            raise PolicyError("policy_unknown_input", f"{where}: which field of the input must be written out")
        return
    if path[0] in source.aliases:
        path = source.aliases[path[0]] + path[1:]
    if path[0] == "data":
        _vet_data(source, path[1:], reference, packages, where)
    elif reference.called and name not in source.functions:
        if name not in builtins:
            reason = "policy_forbidden" if is_forbidden(name) else "policy_unknown_builtin"
            why = "is not for policies" if is_forbidden(name) else "is not a builtin here"
            raise PolicyError(reason, f"{where}: `{name}` {why}", "docs/policies.md lists what may be called")
    elif path[0] not in source.heads | source.local:
        raise PolicyError("policy_unknown_name", f"{where}: nothing is called `{path[0]}`")


def _vet_data(
    source: Source,
    path: tuple[str, ...],
    reference: Reference,
    packages: Mapping[tuple[str, ...], Source],
    where: str,
) -> None:
    if path == WORKSPACE and source.package == MAIN and reference.open:
        return
    for length in range(2, len(path)):
        owner = packages.get(path[:length])
        if owner is not None and path[length] in (owner.functions if reference.called else owner.heads):
            return
    raise PolicyError("policy_unknown_name", f"{where}: no policy defines `data.{'.'.join(path)}`")
