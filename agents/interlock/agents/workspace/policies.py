"""Where a workspace's policies are, and whether they may be used at all."""

from __future__ import annotations

from pathlib import Path

from interlock.agents.errors import UserError
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings
from interlock.bus.policy.bundle import PolicyBundle, load_bundle
from interlock.bus.policy.errors import PolicyError


def policy_directories(layout: Layout, settings: Settings) -> tuple[Path, ...]:
    """The workspace's own, as the roles are given them."""
    return tuple((layout.root / name).resolve() for name in settings.policies)


def policy_bundle(layout: Layout, settings: Settings) -> PolicyBundle:
    """The bundle that would judge here, vetted. Raises UserError (exit 2): nothing runs without policies."""
    try:
        return load_bundle(config_dir() / "policies", policy_directories(layout, settings))
    except PolicyError as error:
        raise refused(error) from error


def refused(error: PolicyError) -> UserError:
    return UserError(error.reason, error.detail, error.mend or "See docs/policies.md", 2)
