"""`interlock policy`: whether the policies may be used, and whether they do what their tests say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from interlock.agents.cli.session import Session
from interlock.agents.contract.admission import RENEW
from interlock.agents.contract.store import load_contract, stored_versions
from interlock.agents.errors import UserError
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.policies import policy_bundle, policy_directories, refused
from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.testing import tested
from interlock.bus.policy.worker import PolicyWorker

OPA_S = 120


def check_policies(session: Session) -> int:
    bundle = policy_bundle(session.layout, session.settings)
    worker = PolicyWorker(bundle.modules)
    try:
        problem = worker.start()
    finally:
        worker.close()
    if problem is not None:
        raise UserError("policy_compile", problem.grounds[0].message, "Nothing is allowed until it does", 2)
    modules = [module.name for module in bundle.modules]
    contract = load_contract(session.layout).head.contract if stored_versions(session.layout) else None
    pinned = None if contract is None else contract.policy_bundle_checksum
    agrees = pinned in (None, bundle.digest)
    renewed = contract is not None and contract.origin == "generated"
    text = f"{len(modules)} policies, bundle {bundle.digest}"
    if pinned is None:
        text += "\nno contract pins it yet: `interlock init` or `interlock run` makes one"
    elif agrees:
        text += "\nthe contract in force pins it"
    else:
        mend = "the next start makes a version for these" if renewed else f"no hop moves under these: {RENEW}"
        text += f"\nthe contract in force pins another, {pinned}\n{mend}"
    answer = {"digest": bundle.digest, "pinned": pinned, "agrees": agrees, "modules": modules}
    session.say(text, answer | {"tests": [module.name for module in bundle.tests]})
    return 0 if agrees or renewed else 2


def test_policies(session: Session, opa: bool) -> int:
    policies, own = config_dir() / "policies", policy_directories(session.layout, session.settings)
    try:
        outcomes = tested(policies, own)
    except PolicyError as error:
        raise refused(error) from error
    failed = [outcome for outcome in outcomes if not outcome.passed]
    answer = {"passed": len(outcomes) - len(failed), "failed": [msgspec.to_builtins(outcome) for outcome in failed]}
    lines = [f"FAIL {outcome.module}: {outcome.name}: {outcome.problem}" for outcome in failed]
    lines.append(f"{len(outcomes) - len(failed)} of {len(outcomes)} cases pass")
    agrees = True
    if opa:
        agrees, said = opa_tests([policies, *own])
        lines.append(f"opa test: {said}")
        answer["opa"] = {"passed": agrees, "said": said}
    session.say("\n".join(lines), answer)
    return 0 if agrees and not failed else 1


def opa_tests(directories: list[Path]) -> tuple[bool, str]:
    """Whether the real `opa test` passes, and its last line. Raises UserError where there is no opa."""
    binary = shutil.which("opa")
    if binary is None:
        raise UserError("no_opa", "opa is not installed", "Install it from openpolicyagent.org, or leave out --opa", 2)
    command = [binary, "test", *map(str, directories)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=OPA_S, check=False)
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return done.returncode == 0, said[-1] if said else f"exit {done.returncode}"
