"""PEP 508 requirements and Python package names, read leniently: what does not fit gives None."""

from __future__ import annotations

import re

from interlock.skills.repository.model import Dependency, Origin, Scope
from interlock.skills.repository.names import one_line

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*"
    r"(?:@\s*(?P<url>\S+)|\(?(?P<specifier>[<>=!~][^;()]*)?\)?)\s*(?:;.*)?"
)
_EXACT = re.compile(r"={2,3}\s*([A-Za-z0-9][A-Za-z0-9.!+_-]{0,63})")
_VCS = ("git+", "hg+", "svn+", "bzr+", "git:", "ssh:", "git@")


def pypi_name(name: str) -> str:
    """PEP 503 normalisation; empty if this is no name of a Python package."""
    return re.sub(r"[-_.]+", "-", name).lower() if _NAME.fullmatch(name) else ""


def origin_of(address: str) -> Origin:
    """Where an address outside of a registry leads."""
    if address.startswith(_VCS) or ".git" in address.partition("#")[0][-5:]:
        return "vcs"
    if address.startswith(("http:", "https:", "ftp:")):
        return "url"
    return "path"


def exact_version(specifier: str) -> str:
    """The version of `==1.2.3`; empty for anything that leaves a choice."""
    match = _EXACT.fullmatch(specifier.strip())
    return match[1] if match and not match[1].endswith(".*") else ""


def requirement(text: str, scope: Scope, source: str, line: int = 0) -> Dependency | None:
    """One requirement as a direct dependency, or None if the text is none."""
    if len(text) > 2000:
        return None
    match = _REQUIREMENT.fullmatch(text.strip())
    name = pypi_name(match["name"]) if match else ""
    if match is None or not name:
        return None
    url, specifier = match["url"] or "", (match["specifier"] or "").strip()
    return Dependency(
        ecosystem="pypi",
        name=name,
        version=exact_version(specifier),
        specifier=one_line(without_credentials(url) or specifier, 120),
        scope=scope,
        direct=True,
        origin=origin_of(url) if url else "registry",
        source=source,
        line=line,
    )


def without_credentials(address: str) -> str:
    """`https://user:secret@host/x` → `https://host/x`: an inventory must not repeat a secret."""
    return re.sub(r"://[^/@\s]*@", "://", address)


def scope_of_name(name: str) -> Scope:
    """The scope a group, extra or file name tells."""
    lowered = name.lower()
    if lowered.strip("-_.") == "build":
        return "build"
    if any(word in lowered for word in ("dev", "test", "lint", "doc", "typ", "ci", "bench", "format", "style")):
        return "dev"
    return "runtime" if lowered in ("main", "default", "base", "prod", "production", "runtime") else "optional"
