"""setup.py, read as a syntax tree and never executed: literals, module constants, and lists of them."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from interlock.skills.repository.findings import Finding
from interlock.skills.repository.model import Manifest
from interlock.skills.repository.names import one_line
from interlock.skills.repository.python_manifests import add_scripts, package_of
from interlock.skills.repository.requirement import requirement, scope_of_name
from interlock.skills.repository.structured import Unreadable, table, words

MAX_CHARS = 200_000


def read_setup_py(path: str, text: str) -> Manifest:
    """What cannot be told without running it becomes a finding. Raises Unreadable for broken Python."""
    manifest = Manifest(path=path, kind="setup.py")
    tree = _parsed(text)
    constants = _constants(tree)
    call = _setup_call(tree)
    if call is None:
        manifest.findings.append(Finding("dynamic-manifest", "info", "no call of setup() at hand", path))
        return manifest
    known: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            manifest.findings.append(Finding("dynamic-manifest", "info", "setup(**…): only known when run", path))
            continue
        known[keyword.arg] = _value(keyword.value, constants)
        if known[keyword.arg] is None and keyword.arg in ("name", "version", "install_requires", "extras_require"):
            manifest.findings.append(
                Finding("dynamic-manifest", "info", f"{keyword.arg} is computed; only known when run", path)
            )
    _fill(manifest, known)
    return manifest


def _fill(manifest: Manifest, known: dict[str, Any]) -> None:
    classifiers = known.get("classifiers")
    manifest.package = package_of(
        manifest.path,
        name=known.get("name"),
        version=known.get("version"),
        description=known.get("description"),
        licence=known.get("license"),
        classifiers=classifiers if isinstance(classifiers, list) else words(classifiers).splitlines(),
        runtime=known.get("python_requires"),
        homepage=known.get("url"),
    )
    _require(manifest, known.get("install_requires"), "runtime")
    _require(manifest, known.get("setup_requires"), "build")
    _require(manifest, known.get("tests_require"), "dev")
    for name, extra in table(known.get("extras_require")).items():
        _require(manifest, extra, "dev" if scope_of_name(str(name)) == "dev" else "optional")
    scripts = table(known.get("entry_points")).get("console_scripts")
    lines = scripts.splitlines() if isinstance(scripts, str) else scripts if isinstance(scripts, list) else []
    pairs = [words(line).partition("=") for line in lines if "=" in words(line)]
    add_scripts(manifest, [(left.strip(), right.strip()) for left, _, right in pairs])


def _require(manifest: Manifest, value: Any, scope: Any) -> None:
    lines = value.splitlines() if isinstance(value, str) else value if isinstance(value, list) else []
    for line in lines:
        text = words(line).strip()
        found = requirement(text, scope, manifest.path) if text else None
        if found is not None:
            manifest.dependencies.append(found)
        elif text:
            message = f"not a requirement: {one_line(text, 80)}"
            manifest.findings.append(Finding("unreadable-requirement", "low", message, manifest.path))


def _parsed(text: str) -> ast.Module:
    if len(text) > MAX_CHARS:
        raise Unreadable(f"more than {MAX_CHARS} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        raise Unreadable(f"not Python: line {error.lineno}: {error.msg}"[:200]) from None
    except (RecursionError, MemoryError):
        raise Unreadable("nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"not Python: {error}"[:200]) from None


def _constants(tree: ast.Module) -> dict[str, Any]:
    constants: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            constants[node.targets[0].id] = _value(node.value, constants)
    return constants


def _setup_call(tree: ast.Module) -> ast.Call | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name == "setup" and node.keywords:
                return node
    return None


def _value(node: ast.expr, constants: dict[str, Any], depth: int = 0) -> Any:
    """The value of a literal, a known name, or a container of such; None for what only running would tell."""
    if depth > 20:
        return None
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_value(item, constants, depth + 1) for item in node.elts]
    if isinstance(node, ast.Dict):
        pairs = ((key, value) for key, value in zip(node.keys, node.values, strict=True) if key is not None)
        known = ((_value(key, constants, depth + 1), _value(value, constants, depth + 1)) for key, value in pairs)
        return {key: value for key, value in known if isinstance(key, str)}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _value(node.left, constants, depth + 1), _value(node.right, constants, depth + 1)
        if isinstance(left, list) and isinstance(right, list):
            return left + right
        return left + right if isinstance(left, str) and isinstance(right, str) else None
    return None
