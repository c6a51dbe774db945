"""Digests of the configuration in force, by what it decides, so that a contract can pin it (GOV-04, GOV-08)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from interlock.bus.policy.bundle import policy_bundle_digest
from interlock.envelope.contract import Checksums

POLICIES = "policies"
_PLAN_LOGIC = ("gates.yaml", "playbooks/")
_ECONOMICS = ("prices.yaml",)


class ConfigurationDigests(Struct, frozen=True):
    """policy_bundle: what policyContext.policyBundle stands for. The rest is what no policy says."""

    policy_bundle: str
    checksums: Checksums


def configuration_digests(
    config: Path, playbooks: Sequence[Path] = (), policies: Sequence[Path] = ()
) -> ConfigurationDigests:
    """SHA-256 over names and bytes. playbooks, policies: the workspace's own directories of them. What belongs nowhere
    else counts as compliance, so that no file is outside of the contract. Raises PolicyError without policies.
    """
    files = {path.relative_to(config).as_posix(): path for path in config.rglob("*.yaml")}
    logic = {name: path for name, path in files.items() if name.startswith(_PLAN_LOGIC)}
    prices = {name: path for name, path in files.items() if name.startswith(_ECONOMICS)}
    checks = {
        name: path
        for name, path in files.items()
        if name not in logic and name not in prices and not name.startswith(f"{POLICIES}/")
    }
    for number, directory in enumerate(playbooks):
        logic |= {f"{number}/{path.relative_to(directory).as_posix()}": path for path in directory.rglob("*.yaml")}
    return ConfigurationDigests(
        policy_bundle=policy_bundle_digest(config, policies),
        checksums=Checksums(
            plan_logic=digest_of(logic.items()),
            compliance=digest_of(checks.items()),
            economics=digest_of(prices.items()),
        ),
    )


def digest_of(files: Iterable[tuple[str, Path]]) -> str:
    """SHA-256 over the files, each as name, length and bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        data = path.read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
