"""SKILL.md: front matter in YAML is the manifest, what follows is the instruction (SKL-01). The folder's digest is the
skill's identity in attestations.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from interlock.bus.yaml12 import YamlError, load_yaml
from interlock.envelope.ids import Token
from interlock.skills.errors import SkillsError
from interlock.skills.schemas import foreign_reference, path_properties

MAX_INSTRUCTION_WORDS = 200
MAX_FOLDER_BYTES = 8 << 20
SEMVER = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?(?!\n)$"
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

# Name, inode, size, times of change of each file of a skill's folder.
Seal = tuple[tuple[str, int, int, int, int], ...]


class _Part(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    pass


class SkillLimits(_Part, frozen=True, kw_only=True):
    """What one run may use at most; each bounded by what the platform allows at all."""

    cpu_seconds: Annotated[int, Meta(ge=1, le=600)] = 20
    wall_seconds: Annotated[int, Meta(ge=1, le=1800)] = 60
    memory_mb: Annotated[int, Meta(ge=64, le=8192)] = 512
    scratch_mb: Annotated[int, Meta(ge=1, le=4096)] = 256
    output_kb: Annotated[int, Meta(ge=1, le=1024)] = 192
    files: Annotated[int, Meta(ge=1, le=10_000)] = 512
    processes: Annotated[int, Meta(ge=0, le=64)] = 0


class SkillFiles(_Part, frozen=True, kw_only=True):
    """Name patterns of files taken from earlier tasks and of files produced."""

    accepts: list[str] = field(default_factory=list)
    produces: list[str] = field(default_factory=list)


class SkillManifest(_Part, frozen=True, kw_only=True):
    """See docs/skills.md for what each key means."""

    name: Token
    version: Annotated[str, Meta(pattern=SEMVER)]
    description: Annotated[str, Meta(min_length=1, max_length=400)]
    capability: Annotated[str, Meta(max_length=160)] = ""
    domain: Token = "general"
    input: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    output: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    files: SkillFiles = field(default_factory=SkillFiles)
    limits: SkillLimits = field(default_factory=SkillLimits)
    network: bool = False
    effects: Literal["none", "external"] = "none"
    deterministic: bool = True
    approval: Literal["none", "required"] = "none"
    reuse: bool = True

    @property
    def may_share(self) -> bool:
        """Whether one process may serve several of its runs in one goal: none of them reaches or makes anything outside."""
        outside = self.network or self.limits.processes or self.files.produces
        return self.reuse and self.effects == "none" and self.approval == "none" and not outside


class Skill(Struct, frozen=True):
    """A loaded skill. digest: SHA-256 over the names and contents of all files of its folder."""

    manifest: SkillManifest
    directory: Path
    digest: str
    instruction: str

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def handler(self) -> Path:
        return self.directory / "handler.py"


def load_skill(directory: Path) -> Skill:
    """Reads and checks a skill folder. Raises SkillsError (bad_skill), naming file, line and what to mend."""
    path = directory / "SKILL.md"
    try:
        text = path.read_text(encoding="utf-8")
        digest = folder_digest(directory)
    except (OSError, UnicodeDecodeError) as error:
        raise SkillsError(
            "bad_skill", f"{path}: {error}", "A skill is a folder with SKILL.md and handler.py"
        ) from error
    manifest, instruction = parse_skill(text, str(path))
    if manifest.name != directory.name:
        raise SkillsError("bad_skill", f"{path}: name `{manifest.name}` differs from its folder `{directory.name}`")
    if not (directory / "handler.py").is_file():
        raise SkillsError("bad_skill", f"{directory}: there is no handler.py")
    return Skill(manifest, directory, digest, instruction)


def parse_skill(text: str, source: str) -> tuple[SkillManifest, str]:
    """(manifest, instruction) of a SKILL.md. Raises SkillsError."""
    parts = re.split(r"^---[ \t]*\r?$", text, maxsplit=2, flags=re.MULTILINE)
    if len(parts) != 3 or parts[0].strip():
        raise SkillsError("bad_skill", f"{source}:1:1: it must begin with front matter between two lines of `---`")
    try:
        # One line break stands for the opening `---`, so that positions are those of the file.
        loaded = load_yaml(parts[1], source=source)
        manifest = msgspec.convert(loaded.value, SkillManifest)
    except YamlError as error:
        raise SkillsError("bad_skill", str(error)) from error
    except msgspec.ValidationError as error:
        told = [
            "{}:{}:{}: {} {}".format(source, *loaded.position(where), what, where)
            for where, what in _violations(loaded.value, SkillManifest, "$")
        ]
        raise SkillsError("bad_skill", "; ".join(told)) from error
    instruction = parts[2].strip()
    words = len(instruction.split())
    if words > MAX_INSTRUCTION_WORDS:
        raise SkillsError("bad_skill", f"{source}: the instruction has {words} words; at most {MAX_INSTRUCTION_WORDS}")
    _check(manifest, source)
    capability = manifest.capability or f"skill:{manifest.name}"
    return msgspec.structs.replace(manifest, capability=capability), instruction


def _violations(value: Any, kind: type[Struct], path: str) -> Iterator[tuple[str, str]]:
    """(JSON path, what) of everything wrong: msgspec itself stops at the first."""
    if not isinstance(value, dict):
        yield path, "Expected `object`"
        return
    fields = {entry.encode_name: entry for entry in msgspec.structs.fields(kind)}
    for key in value:
        if key not in fields:
            yield f"{path}.{key}", f"there is no such key; there are {', '.join(fields)}"
    for key, entry in fields.items():
        if key not in value:
            if entry.required:
                yield path, f"`{key}` is missing"
        elif isinstance(entry.type, type) and issubclass(entry.type, Struct):
            yield from _violations(value[key], entry.type, f"{path}.{key}")
        else:
            try:
                msgspec.convert(value[key], entry.type)
            except msgspec.ValidationError as error:
                what, _, where = str(error).partition(" - at `")
                yield f"{path}.{key}{where.rstrip('`')[1:]}", what


def _check(manifest: SkillManifest, source: str) -> None:
    for key, schema in (("input", manifest.input), ("output", manifest.output)):
        outside = foreign_reference(schema)
        if outside:
            raise SkillsError("bad_skill", f"{source}: {key}: `$ref: {outside}` points outside the document")
    writes = [name for name, kind in path_properties(manifest.input) if kind == "writable-directory"]
    if writes and manifest.effects == "none":
        raise SkillsError("bad_skill", f"{source}: input.{writes[0]} is writable, so `effects` must be `external`")


def folder_digest(directory: Path) -> str:
    """SHA-256 over the sorted (relative name, content) of all regular files; caches and links do not count."""
    digest = hashlib.sha256()
    total = 0
    for path in _files(directory):
        total += path.stat().st_size
        if total > MAX_FOLDER_BYTES:
            raise SkillsError("bad_skill", f"{directory} holds more than {MAX_FOLDER_BYTES} bytes")
        data = path.read_bytes()
        name = path.relative_to(directory).as_posix().encode("utf-8", "surrogateescape")
        digest.update(b"%d %b %d " % (len(name), name, len(data)) + data)
    return digest.hexdigest()


def seal_of(directory: Path) -> Seal:
    """What tells cheaply that none of the files that make the digest was touched. Raises OSError."""
    found = []
    directories = [str(directory)]
    while directories:
        with os.scandir(directories.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                    directories.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    stat = entry.stat(follow_symlinks=False)
                    found.append((entry.path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return tuple(sorted(found))


def _files(directory: Path) -> list[Path]:
    return [
        path
        for path in sorted(directory.rglob("*"))
        if "__pycache__" not in path.parts and not path.is_symlink() and path.is_file()
    ]
