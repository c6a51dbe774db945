"""The detectors of secrets: detect-secrets' plugins and our own patterns, ready to run over whole texts.

The plugins are used for what they know (their patterns, validity checks and entropy limits); its scanning loop is not,
since it goes line by line through every plugin, may verify secrets over the network, and reports only part of a token
where its pattern has groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

Certainty = Literal["certain", "likely", "hint"]
# The names of detect-secrets' KeywordDetector as plain text to search for: a regular expression takes ten times as long.
_STEMS = ("passw", "_pass", "dbpass", "databasepass", "keypass", "pwd", "secret", "contrase")
_BEFORE_KEY = ("api", "auth", "service", "account", "db", "database", "priv", "private", "client")
_QUOTED = re.compile(r"""(["'])([A-Za-z0-9+/=_-]{20,200})\1""")
_KEY_BLOCK = re.compile(
    r"-----BEGIN ((?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----(?P<body>(?:[A-Za-z0-9+/=\s:,-]|\\[nr]|[\"'+]){60,8000})"
)
MAX_LINE = 4_000
MAX_KEYWORD_LINES = 2_000


class DetectorRule(Struct, frozen=True, forbid_unknown_fields=True):
    """whole: a letter or digit on either side means that it is a piece of something else (base64 data, say)."""

    certainty: Certainty
    needs: list[str]
    whole: bool = False


class PatternRule(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    certainty: Certainty
    needs: list[str]
    pattern: str


class SecretRules(Struct, frozen=True, forbid_unknown_fields=True):
    """config/secrets.yaml."""

    detectors: dict[str, DetectorRule]
    patterns: list[PatternRule]
    stand_ins: list[str]


class Hit(Struct, frozen=True):
    """A possible secret: its value never leaves this process. offset: where it begins in the text."""

    type: str
    certainty: Certainty
    secret: str
    offset: int


class Detector(Struct, frozen=True):
    """Patterns over whole texts. valid: the plugin's own check, if it has one."""

    type: str
    certainty: Certainty
    needs: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]
    valid: Callable[[str], bool] | None = None
    whole: bool = False


def load_secret_rules(config: Path) -> SecretRules:
    """Reads secrets.yaml of a configuration directory. Raises ValueError."""
    from interlock.bus.yaml12 import load_yaml

    path = config / "secrets.yaml"
    return msgspec.convert(load_yaml(path.read_bytes(), source=path.name).value, SecretRules)


def detectors(rules: SecretRules) -> list[Detector]:
    """Raises ValueError if the rules name a plugin that detect-secrets does not have."""
    plugins = _plugins()
    unknown = sorted(set(rules.detectors) - set(plugins))
    if unknown:
        raise ValueError(f"secrets.yaml: detect-secrets has no plugin of the type {unknown[0]!r}")
    found = [
        Detector(
            type=name,
            certainty=rule.certainty,
            needs=tuple(rule.needs),
            patterns=tuple(plugins[name].denylist),
            valid=getattr(plugins[name], "is_formally_valid", None),
            whole=rule.whole,
        )
        for name, rule in rules.detectors.items()
    ]
    own = [
        Detector(rule.type, rule.certainty, tuple(rule.needs), (re.compile(rule.pattern),)) for rule in rules.patterns
    ]
    return found + own


def _plugins() -> dict[str, Any]:
    import importlib
    import pkgutil

    from detect_secrets import plugins as package
    from detect_secrets.plugins.base import RegexBasedDetector

    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, RegexBasedDetector) and value is not RegexBasedDetector:
                found[str(value.secret_type)] = value()
    return found


def by_pattern(text: str, lowered: str, every: list[Detector]) -> Iterator[Hit]:
    """Tokens with a form of their own. The secret is the longest group where that is most of it, else the match."""
    for detector in every:
        if not any(need in lowered for need in detector.needs):
            continue
        for pattern in detector.patterns:
            for match in pattern.finditer(text):
                start, end = _secret_span(match)
                if detector.whole and (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()):
                    continue
                secret = text[start:end].strip("\"'=:\n\t ")
                if secret and (detector.valid is None or detector.valid(secret)):
                    yield Hit(detector.type, detector.certainty, secret, start)


def _secret_span(match: re.Match[str]) -> tuple[int, int]:
    """Of the longest group where that is the secret (long, or the password of an address), else of the match."""
    spans = [match.span(number) for number in range(1, match.re.groups + 1) if match[number]]
    longest = max(spans, key=lambda span: span[1] - span[0], default=match.span())
    return longest if longest[1] - longest[0] >= 16 or "://" in match[0] else match.span()


def by_key_block(text: str) -> Iterator[Hit]:
    """PEM private keys with a body; a mere mention of the marker is none."""
    if "PRIVATE KEY" not in text:
        return
    for match in _KEY_BLOCK.finditer(text):
        body = re.sub(r"\\[nr]|[^A-Za-z0-9+/=]", "", match["body"].partition("-----END")[0])
        if len(body) >= 64 and len(set(body)) >= 12:
            yield Hit("Private Key", "certain", body, match.start())


def lower_of(text: str) -> str:
    """Lower case of the same length, so that places agree."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if c.isascii() else c for c in text)


def by_keyword(path: str, text: str, lowered: str) -> Iterator[Hit]:
    """What is assigned to a name that sounds secret."""
    from detect_secrets.plugins.keyword import REGEX_BY_FILETYPE, KeywordDetector
    from detect_secrets.util.filetype import determine_file_type

    plugin = KeywordDetector()
    patterns = REGEX_BY_FILETYPE.get(determine_file_type(path))
    seen = -1
    lines = 0
    for place in sorted(_keywords(lowered)):
        if place < seen:
            continue
        start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
        seen = len(text) if end < 0 else end
        line = text[start:seen]
        lines += 1
        if lines > MAX_KEYWORD_LINES:
            return
        if len(line) <= MAX_LINE:
            for secret in plugin.analyze_string(line.rstrip(), denylist_regex_to_group=patterns):
                yield Hit("Secret Keyword", "likely", secret, start + max(0, line.find(secret)))


def _keywords(lowered: str) -> Iterator[int]:
    """Where names that sound secret begin or end, at most MAX_KEYWORD_LINES of each."""
    for stem in (*_STEMS, "key"):
        place = lowered.find(stem)
        found = 0
        while place >= 0 and found < MAX_KEYWORD_LINES:
            if stem != "key" or lowered[max(0, place - 9) : place].removesuffix("_").endswith(_BEFORE_KEY):
                found += 1
                yield place
            place = lowered.find(stem, place + 3)


def by_entropy(text: str) -> Iterator[Hit]:
    """Quoted strings that look random."""
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString, HexHighEntropyString

    hexadecimal, base64 = HexHighEntropyString(), Base64HighEntropyString()
    for match in _QUOTED.finditer(text):
        plugin = hexadecimal if set(match[2]) <= set("0123456789abcdefABCDEF") else base64
        if plugin.calculate_shannon_entropy(match[2]) > plugin.entropy_limit:
            yield Hit(plugin.secret_type, "hint", match[2], match.start(2))
