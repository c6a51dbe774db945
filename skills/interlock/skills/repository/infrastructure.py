"""How a tree says it is run: Dockerfiles, Procfiles, Compose and Kubernetes files, CI."""

from __future__ import annotations

import json
import re
import shlex

from interlock.skills.repository.model import EntryPoint
from interlock.skills.repository.names import one_line

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("container", re.compile(r"(^|/)(Dockerfile|Containerfile)([.-][\w.-]+)?$|\.dockerfile$", re.I)),
    ("compose", re.compile(r"(^|/)(docker-)?compose([.-][\w.-]+)?\.ya?ml$")),
    (
        "ci",
        re.compile(r"^(\.github/workflows/[^/]+\.ya?ml|\.gitlab-ci\.yml|\.circleci/config\.yml|Jenkinsfile|\.ci/.+)$"),
    ),
    ("helm", re.compile(r"(^|/)Chart\.yaml$")),
    (
        "kubernetes",
        re.compile(r"(^|/)(k8s|kubernetes|manifests|kustomize|overlays|deploy)/.+\.ya?ml$|(^|/)kustomization\.ya?ml$"),
    ),
    ("terraform", re.compile(r"\.tf$")),
    ("procfile", re.compile(r"(^|/)Procfile$")),
)


def infrastructure_kind(path: str) -> str:
    """`container`, `compose`, `ci`, `helm`, `kubernetes`, `terraform`, `procfile`, or empty."""
    return next((kind for kind, pattern in _KINDS if pattern.search(path)), "")


def read_dockerfile(path: str, text: str, name: str) -> list[EntryPoint]:
    """The last stage's entry point and command, and the first port it exposes."""
    entry: list[str] = []
    command: list[str] = []
    ports: list[int] = []
    for line in _instructions(text):
        word, _, rest = line.partition(" ")
        match word.upper():
            case "FROM":
                entry, command, ports = [], [], []
            case "ENTRYPOINT":
                entry = _command(rest)
            case "CMD":
                command = _command(rest)
            case "EXPOSE":
                ports += [port for port in map(_port, rest.split()) if port]
            case _:
                pass
    if not entry and not command and not ports:
        return []
    return [EntryPoint(kind="container", name=name, command=entry + command, file=path, port=ports[0] if ports else 0)]


def read_procfile(path: str, text: str) -> list[EntryPoint]:
    """`name: command` lines."""
    found = []
    for line in text.splitlines()[:100]:
        match = re.fullmatch(r"\s*([A-Za-z0-9_-]{1,63})\s*:\s*(\S.*)", line)
        if match:
            found.append(EntryPoint(kind="process", name=match[1], command=_words(match[2]), file=path))
    return found


def _instructions(text: str) -> list[str]:
    lines: list[str] = []
    held = ""
    for raw in text.splitlines()[:5000]:
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        lines.append(held + line)
        held = ""
    return [*lines, held] if held.strip() else lines


def _command(rest: str) -> list[str]:
    """The exec form (a JSON array) or the shell form."""
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return [one_line(part, 200) for part in value[:40]]
    return _words(rest)


def _words(command: str) -> list[str]:
    """A plain command as its words; one that needs a shell as `sh -c`."""
    if re.search(r"[$&|;<>*`()]", command):
        return ["/bin/sh", "-c", one_line(command, 400)]
    try:
        return [one_line(part, 200) for part in shlex.split(command)[:40]]
    except ValueError:
        return ["/bin/sh", "-c", one_line(command, 400)]


def _port(text: str) -> int:
    digits = text.partition("/")[0]
    return int(digits) if digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536 else 0
