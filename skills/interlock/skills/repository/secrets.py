"""Secrets in a source tree: where, of which kind, and the SHA-256 of each; the secret itself is never told."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from pathlib import Path

from msgspec import Struct, field

from interlock.skills.repository.findings import Finding, Severity
from interlock.skills.repository.manifests import is_aside
from interlock.skills.repository.names import one_line
from interlock.skills.repository.secret_rules import (
    Detector,
    Hit,
    SecretRules,
    by_entropy,
    by_key_block,
    by_keyword,
    by_pattern,
    detectors,
    lower_of,
)
from interlock.skills.repository.sources import language_of
from interlock.skills.repository.structured import items, table, words
from interlock.skills.repository.walk import SKIPPED, Entry, Tree, walk

ALLOW_FILE = ".interlock-secrets.yaml"
MAX_PER_FILE = 200
_PROSE = frozenset({"Markdown", "reStructuredText", "HTML", ""})
_LOCKS = re.compile(
    r"(^|/)(package-lock\.json|npm-shrinkwrap\.json|[^/]+\.(lock|sum|map|svg|min\.js)|pnpm-lock\.yaml)$"
)
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z_$]*([.:/-][A-Za-z_$]+)*")
_RANK = {"certain": 0, "likely": 1, "hint": 2}


class Allowed(Struct, frozen=True):
    """One line of the allow-list: SHA-256 of a secret, optionally only in files that match."""

    sha256: str
    file: str = "*"
    reason: str = ""


class Scan(Struct):
    """What was scanned and found. hints: places that merely look random, by file."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    binary: int = 0
    cut: int = 0
    allowed: int = 0
    by_type: dict[str, int] = field(default_factory=dict)


def scan_tree(root: Path, rules: SecretRules) -> Scan:
    """Scans every text file, `.git/config` included. Raises OSError if the root cannot be listed."""
    tree = walk(root, skip=SKIPPED)
    scan = Scan()
    scanner = _Scanner(rules, _allow_list(tree, scan))
    config = Entry(".git/config", b".git/config", 0)
    noted = len(tree.findings)
    for entry in [*tree.files, config]:
        content = tree.read(entry)
        if content is None:
            continue
        scan.files += 1
        scan.bytes += len(content.data)
        scan.binary += content.text is None
        scan.cut += content.truncated
        if content.text is not None:
            scanner.look(entry.path, content.text, scan)
    unread = [entry for entry in tree.findings[noted:] if entry.file != config.path]
    scan.findings += [entry for entry in unread if entry.id == "unreadable"]
    if scan.cut:
        message = f"of {scan.cut} large files only the first MiB was scanned"
        scan.findings.append(Finding("large-file", "low", message))
    return scan


def _allow_list(tree: Tree, scan: Scan) -> list[Allowed]:
    if not any(entry.path == ALLOW_FILE for entry in tree.files):
        return []
    from interlock.bus.yaml12 import YamlError, load_yaml

    content = tree.read_raw(ALLOW_FILE.encode(), ALLOW_FILE)
    try:
        value = load_yaml(content.data if content else b"", source=ALLOW_FILE).value
    except YamlError as error:
        scan.findings.append(Finding("broken-allow-list", "medium", str(error), ALLOW_FILE))
        return []
    every = [table(entry) for entry in items(table(value).get("allow"))]
    return [
        Allowed(words(entry.get("sha256")).lower(), words(entry.get("file")) or "*", one_line(entry.get("reason"), 120))
        for entry in every
        if re.fullmatch(r"[0-9a-fA-F]{64}", words(entry.get("sha256")))
    ]


class _Scanner:
    def __init__(self, rules: SecretRules, allowed: list[Allowed]) -> None:
        self._detectors: list[Detector] = detectors(rules)
        self._stand_ins = tuple(rules.stand_ins)
        self._allowed = allowed

    def look(self, path: str, text: str, scan: Scan) -> None:
        """Adds what one text holds. The same secret of a file counts once, at its first place and its surest type."""
        best: dict[str, Hit] = {}
        for hit in self._hits(path, text):
            known = best.get(hit.secret)
            if known is None or _RANK[hit.certainty] < _RANK[known.certainty]:
                best[hit.secret] = hit
            if len(best) >= MAX_PER_FILE:
                break
        certain = [hit.secret for hit in best.values() if hit.certainty == "certain"]
        for hit in best.values():
            within = any(hit.secret != other and (hit.secret in other or other in hit.secret) for other in certain)
            if not (within and hit.certainty != "certain"):
                self._tell(path, text, hit, scan)

    def _hits(self, path: str, text: str) -> list[Hit]:
        lowered = lower_of(text)
        hits = [*by_pattern(text, lowered, self._detectors), *by_key_block(text)]
        if not _LOCKS.search(path):
            hits += by_keyword(path, text, lowered)
            if language_of(path.rpartition("/")[2]) not in _PROSE and not is_aside(path):
                hits += by_entropy(text)
        return hits

    def _tell(self, path: str, text: str, hit: Hit, scan: Scan) -> None:
        number = text.count("\n", 0, hit.offset) + 1
        line, before = _lines_at(text, hit.offset)
        digest = hashlib.sha256(hit.secret.encode("utf-8", "surrogatepass")).hexdigest()
        severity, blocks, remark = self._weigh(path, line, hit)
        if severity is None:
            return
        reason = self._reason(path, digest, line, before)
        if reason is not None:
            scan.allowed += 1
            severity, blocks, remark = "info", False, f"; allow-listed: {reason}"
        scan.by_type[hit.type] = scan.by_type.get(hit.type, 0) + 1
        name = "secret-" + re.sub(r"[^a-z0-9]+", "-", hit.type.lower()).strip("-")
        message = f"{hit.type}{remark} (SHA-256 {digest})"
        scan.findings.append(Finding(name, severity, message, path, number, blocks))

    def _reason(self, path: str, digest: str, line: str, before: str) -> str | None:
        """Why it is allowed, or None."""
        from detect_secrets.filters.allowlist import is_line_allowlisted
        from detect_secrets.util.code_snippet import CodeSnippet

        around = CodeSnippet([before[-2000:], line], 0, 1)
        if len(line) < 2000 and is_line_allowlisted(path, line, around):
            return "by a pragma on its line"
        for entry in self._allowed:
            if entry.sha256 == digest and fnmatch.fnmatchcase(path, entry.file):
                return entry.reason or f"by {ALLOW_FILE}"
        return None

    def _weigh(self, path: str, line: str, hit: Hit) -> tuple[Severity | None, bool, str]:
        """(severity or None for noise, blocks, remark)."""
        from detect_secrets.filters import heuristic

        secret = hit.secret
        if hit.certainty == "certain":
            if "EXAMPLE" in secret.upper() or len(set(secret)) < 8 or heuristic.is_sequential_string(secret[-24:]):
                return "info", False, ", an example by its looks"
            return "critical", True, ""
        if (
            heuristic.is_templated_secret(secret)
            or heuristic.is_prefixed_with_dollar_sign(secret)
            or heuristic.is_not_alphanumeric_string(secret)
            or heuristic.is_sequential_string(secret)
            or heuristic.is_potential_uuid(secret)
            or (hit.type == "Secret Keyword" and heuristic.is_indirect_reference(line))
        ):
            return None, False, ""
        if hit.certainty == "hint":
            told = len(line) <= 1000 and not heuristic.is_likely_id_string(secret, line)
            return ("low" if told else None), False, ", only by its looks"
        if not self._strong(secret):
            return ("info" if hit.type == "Secret Keyword" else "low"), False, ", a stand-in by its looks"
        if is_aside(path) or language_of(path.rpartition("/")[2]) in _PROSE - {""}:
            return "low", False, " in tests, examples or documentation"
        return "high", True, ""

    def _strong(self, secret: str) -> bool:
        """Whether a value looks chosen to be secret: long enough, of several kinds of characters, no plain word."""
        lowered = secret.lower()
        if len(secret) < 8 or len(set(secret)) < 5 or any(char.isspace() for char in secret.strip()):
            return False
        if any(word in lowered for word in self._stand_ins) or any(char in secret for char in "(){}<>[]%"):
            return False
        if _IDENTIFIER.fullmatch(secret):
            return False
        kinds = (str.islower, str.isupper, str.isdigit)
        return sum(any(kind(char) for char in secret) for kind in kinds) + any(not c.isalnum() for c in secret) >= 2


def _lines_at(text: str, offset: int) -> tuple[str, str]:
    start, end = text.rfind("\n", 0, offset) + 1, text.find("\n", offset)
    before = text[text.rfind("\n", 0, max(0, start - 1)) + 1 : max(0, start - 1)]
    return text[start : len(text) if end < 0 else end].rstrip(), before
