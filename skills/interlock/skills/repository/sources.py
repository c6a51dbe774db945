"""What the source files themselves tell: languages, and the AI libraries and models they use."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct, field

from interlock.skills.repository.model import Use

LANGUAGES = {
    **dict.fromkeys((".py", ".pyi", ".pyx"), "Python"),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx"), "JavaScript"),
    **dict.fromkeys((".ts", ".tsx", ".mts", ".cts"), "TypeScript"),
    **dict.fromkeys((".c", ".h"), "C"),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hpp", ".hh"), "C++"),
    **dict.fromkeys((".sh", ".bash", ".zsh"), "Shell"),
    **dict.fromkeys((".yaml", ".yml"), "YAML"),
    **dict.fromkeys((".htm", ".html"), "HTML"),
    **dict.fromkeys((".css", ".scss", ".less"), "CSS"),
    **dict.fromkeys((".md", ".markdown"), "Markdown"),
    ".rs": "Rust",
    ".go": "Go",
    ".java": "Java",
    ".kt": "Kotlin",
    ".rb": "Ruby",
    ".php": "PHP",
    ".cs": "C#",
    ".swift": "Swift",
    ".scala": "Scala",
    ".lua": "Lua",
    ".pl": "Perl",
    ".r": "R",
    ".jl": "Julia",
    ".sql": "SQL",
    ".json": "JSON",
    ".toml": "TOML",
    ".rst": "reStructuredText",
    ".tf": "Terraform",
    ".proto": "Protocol Buffers",
    ".rego": "Rego",
    ".ipynb": "Jupyter",
    ".vue": "Vue",
    ".svelte": "Svelte",
    ".dart": "Dart",
    ".ex": "Elixir",
}
PROGRAMMING = frozenset(LANGUAGES.values()) - {"YAML", "HTML", "CSS", "Markdown", "JSON", "TOML", "reStructuredText"}
_IMPORTING = frozenset({"Python", "JavaScript", "TypeScript", "Jupyter", "Vue", "Svelte"})
_PYTHON = re.compile(
    r"^[ \t\"]*(?:import|from)[ \t]+([A-Za-z_][\w.]{0,100}(?:[ \t]*,[ \t]*[A-Za-z_][\w.]{0,100}){0,20})", re.M
)
_SCRIPT = re.compile(r"""(?:\bfrom|\brequire\(|\bimport\(?)\s{0,4}["'`]([@\w][\w@./-]{0,150})["'`]""")


def language_of(name: str) -> str:
    """By extension; empty if it is none of those known."""
    lowered = name.lower()
    if lowered.startswith("dockerfile") or lowered.endswith(".dockerfile"):
        return "Dockerfile"
    dot = lowered.rfind(".")
    return LANGUAGES.get(lowered[dot:], "") if dot > 0 else ""


class Catalogue(Struct, frozen=True, forbid_unknown_fields=True):
    """config/ai-libraries.yaml: libraries by their import name, and patterns of model names.

    libraries: name → kind (generative, learning, retrieval, agent); a name ends at a dot, a slash or its end.
    frameworks: name → the port a service written with it listens on unless it is told otherwise.
    """

    libraries: dict[str, str]
    models: list[str]
    frameworks: dict[str, int] = field(default_factory=dict)


class Uses:
    """Collects uses over files; memory is bounded by the catalogue, and by MAX_MODELS."""

    MAX_MODELS = 50

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._known: dict[str, str] = {**catalogue.libraries, **dict.fromkeys(catalogue.frameworks, "framework")}
        self._models = (
            re.compile("|".join(f"(?:{pattern})" for pattern in catalogue.models)) if catalogue.models else None
        )
        self._found: dict[tuple[str, str], Use] = {}

    def look(self, path: str, language: str, text: str) -> None:
        """Adds what one source file uses."""
        if language not in _IMPORTING:
            return
        seen: dict[tuple[str, str], int] = {}
        for match in (_PYTHON if language in ("Python", "Jupyter") else _SCRIPT).finditer(text):
            for name in match[1].split(","):
                known = self._library(name.strip())
                if known:
                    seen.setdefault((known, self._known[known]), match.start())
        if self._models is not None:
            for match in self._models.finditer(text):
                seen.setdefault((match[0].strip("\"'`"), "model"), match.start())
        for key, offset in seen.items():
            self._add(key, path, text.count("\n", 0, offset) + 1)

    def _library(self, name: str) -> str:
        """The catalogue's name for `langchain_openai.chat` or `@langchain/openai`: the longest prefix that is known."""
        parts = re.split(r"([./])", name)
        for end in range(len(parts), 0, -2):
            prefix = "".join(parts[:end])
            if prefix in self._known:
                return prefix
        return ""

    def _add(self, key: tuple[str, str], path: str, line: int) -> None:
        known = self._found.get(key)
        if known is None:
            if key[1] == "model" and sum(1 for _, kind in self._found if kind == "model") >= self.MAX_MODELS:
                return
            self._found[key] = Use(key[0][:120], key[1], path, line, 1)
        else:
            self._found[key] = Use(known.name, known.kind, known.file, known.line, known.files + 1)

    def of_dependencies(self, names: Mapping[str, tuple[str, int]]) -> None:
        """Adds libraries that a manifest names and no source was seen to import. names: name → (file, line)."""
        for name, (file, line) in names.items():
            known = self._library(name) or self._library(name.replace("-", "_"))
            kind = self._known.get(known, "")
            if known and (known, kind) not in self._found:
                self._found[(known, kind)] = Use(known, kind, file, line, 0)

    def ports(self) -> dict[str, int]:
        """Of the frameworks found."""
        ports = self._catalogue.frameworks
        return {name: ports[name] for name, kind in sorted(self._found) if kind == "framework"}

    def found(self) -> list[Use]:
        return sorted(self._found.values(), key=lambda use: (use.kind, use.name))
