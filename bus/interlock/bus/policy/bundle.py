"""The policy bundle: the modules that decide, vetted, and the digest that policyContext and contract name (GOV-04)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.facts import INPUT_PATHS
from interlock.bus.policy.rego_source import Module, Source, read_source
from interlock.bus.policy.vetting import MAIN, TEST, vet

MAX_MODULE_BYTES = 256 * 1024
MAX_MODULES = 200


class PolicyBundle(Struct, frozen=True):
    """modules decide; tests only test. digest: SHA-256 of the modules, hex."""

    modules: tuple[Module, ...]
    tests: tuple[Module, ...]
    digest: str


def load_bundle(policies: Path, workspace: Sequence[Path] = ()) -> PolicyBundle:
    """Reads and vets `*.rego` of a directory, and of a workspace's own directories, which can only narrow. Raises
    PolicyError.
    """
    found = _found(policies, workspace)
    modules = _deciding(found)
    tests = tuple(sorted((m for m in found if m.name.endswith(TEST)), key=lambda module: module.name))
    if len(found) > MAX_MODULES:
        raise PolicyError("policy_unreadable", f"{len(found)} modules; at most {MAX_MODULES}")
    sources = [read_source(module.name, module.text) for module in modules]
    vet(sources, INPUT_PATHS)
    _vet_entry(sources, policies)
    return PolicyBundle(modules, tests, bundle_digest(modules))


def read_tests(bundle: PolicyBundle) -> list[Source]:
    """The bundle's tests, vetted together with what they test. Raises PolicyError."""
    tests = [read_source(module.name, module.text) for module in bundle.tests]
    vet([read_source(module.name, module.text) for module in bundle.modules] + tests, INPUT_PATHS)
    return tests


def bundle_digest(modules: Sequence[Module]) -> str:
    """SHA-256 over the modules in the order of their names, each as length and bytes of name and text."""
    digest = hashlib.sha256()
    for module in sorted(modules, key=lambda one: one.name):
        for part in (module.name.encode(), module.text.encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def policy_bundle_digest(config: Path, workspace: Sequence[Path] = ()) -> str:
    """The digest of the bundle in force: what policyContext.policyBundle and the contract state. The bundle is not
    vetted. Raises PolicyError if there is none.
    """
    return bundle_digest(_deciding(_found(config / "policies", workspace)))


def _found(policies: Path, workspace: Sequence[Path]) -> list[Module]:
    found = _read(policies, "policies")
    for number, directory in enumerate(workspace):
        found += _read(directory, f"workspace/{number}")
    return found


def _deciding(found: Sequence[Module]) -> tuple[Module, ...]:
    return tuple(sorted((m for m in found if not m.name.endswith(TEST)), key=lambda module: module.name))


def _read(directory: Path, prefix: str) -> list[Module]:
    modules = []
    try:
        if not directory.is_dir():
            raise PolicyError("no_policies", f"{directory} is no directory", "Check `policies:` in interlock.yaml")
        for path in sorted(directory.rglob("*.rego")):
            data = path.read_bytes()
            if len(data) > MAX_MODULE_BYTES:
                raise PolicyError("policy_unreadable", f"{path}: {len(data)} bytes; at most {MAX_MODULE_BYTES}")
            modules.append(Module(f"{prefix}/{path.relative_to(directory).as_posix()}", data.decode()))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError("policy_unreadable", f"{directory}: {error}") from error
    return modules


def _vet_entry(sources: Sequence[Source], policies: Path) -> None:
    main = [source for source in sources if source.package == MAIN]
    if not main or not main[0].heads >= {"allow", "grounds"}:
        raise PolicyError("no_policies", f"{policies}: no module defines interlock.main.allow and .grounds")
