"""What a repository runs, told by what it holds: containers, then processes, then start scripts, then commands."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from interlock.skills.repository.model import Context, EntryPoint

Kind = Literal["service", "worker", "job"]
_PORT = re.compile(r"(?:--port[= ]|-p |--bind[= ]\S*:|-b \S*:|PORT=)(\d{2,5})\b")


class Workload(Struct, frozen=True):
    """name: a DNS label. port: 0 for what serves nothing. told_by: the file that tells of it.

    command: argument vector to run in the image; empty where the image has its own. assumed: what was not told.
    """

    name: str
    kind: Kind
    command: list[str]
    port: int
    image: str
    told_by: str
    assumed: list[str]


def workloads(context: Context, limit: int) -> list[Workload]:
    """At most limit workloads with different names; empty for a library."""
    by_kind: dict[str, list[EntryPoint]] = {}
    for entry in context.entry_points:
        by_kind.setdefault(entry.kind, []).append(entry)
    chosen = next((by_kind[kind] for kind in ("container", "process", "script", "console") if kind in by_kind), [])
    found: dict[str, Workload] = {}
    for entry in chosen:
        workload = _workload(entry, context, several=len(chosen) > 1)
        found.setdefault(workload.name, workload)
    return list(found.values())[:limit]


def dns_label(text: str) -> str:
    """A DNS label (RFC 1123) made of text: lower-case letters, digits and `-`, at most 50."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50].strip("-")
    return label or "app"


def _workload(entry: EntryPoint, context: Context, *, several: bool) -> Workload:
    own = dns_label(context.name)
    part = dns_label(entry.name)
    name = own if not several or part == own else f"{own}-{part}"[:60].strip("-")
    port, assumed = _port(entry, context)
    kind: Kind = "job" if entry.kind == "console" or entry.name == "release" else "service" if port else "worker"
    return Workload(
        name=name,
        kind=kind,
        command=[] if entry.kind == "container" else entry.command,
        port=0 if kind == "job" else port,
        image=f"{own}:{_tag(context)}",
        told_by=entry.file,
        assumed=assumed if kind == "service" else [],
    )


def _port(entry: EntryPoint, context: Context) -> tuple[int, list[str]]:
    if entry.port:
        return entry.port, []
    told = _PORT.search(" ".join(entry.command))
    if told and 0 < int(told[1]) < 65536:
        return int(told[1]), []
    if entry.kind == "process" and entry.name != "web":
        return 0, []
    framework = next((use for use in context.uses if use.kind == "framework" and use.files), None)
    port = context.framework_ports.get(framework.name, 0) if framework else 0
    if framework is None or not port:
        return 0, []
    return port, [f"port {port}: the default of {framework.name}, which {framework.file} uses"]


def _tag(context: Context) -> str:
    """The version where it can be a tag, else the beginning of the content digest."""
    return (
        context.version if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", context.version) else context.digest[:12]
    )
