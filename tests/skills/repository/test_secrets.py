"""The secret scan: what leaks is found, never repeated, and everyday text is left alone. Secrets are made, not written."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import interlock.skills
from interlock.skills.repository.secret_rules import (
    by_key_block,
    by_keyword,
    by_pattern,
    detectors,
    load_secret_rules,
    lower_of,
)
from interlock.skills.repository.secrets import Scan, scan_tree

CONFIG = Path(interlock.skills.__path__[0]).parents[2] / "config"
RULES = load_secret_rules(CONFIG)
ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def made(length: int, letters: str = ALNUM, seed: int = 1) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


def pem() -> str:
    body = base64.encodebytes(random.Random(3).randbytes(300)).decode()
    return f"-----BEGIN {'RSA PRIVATE'} KEY-----\n{body}-----END {'RSA PRIVATE'} KEY-----\n"


SECRETS = {
    "NATS seed": "SU" + made(56, BASE32),
    "Anthropic API key": "sk-ant-" + "api03-" + made(60),
    "OpenAI project key": "sk-proj-" + made(50),
    "OpenAI Token": "sk-" + made(20) + "T3BlbkFJ" + made(20, seed=2),
    "GitHub Token": "ghp_" + made(36),
    "GitHub fine-grained token": "github_pat_" + made(22) + "_" + made(59),
    "GitLab Token": "glpat-" + made(20),
    "AWS Access Key": "AKIA" + made(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    "Slack Token": "xoxb-123456789012-" + made(24, "abcdefghijklmnopqrstuvwxyz0123456789"),
    "Stripe Access Key": "sk_live_" + made(24),
    "Google API key": "AIza" + made(35),
    "SendGrid API Key": "SG." + made(22) + "." + made(43),
    "PyPI Token": "pypi-AgEIcHlwaS5vcmc" + made(80),
    "Hugging Face token": "hf_" + made(34, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"),
    "npm access token": "npm_" + made(36),
}


def scanned(tmp_path: Path, files: dict[str, str]) -> Scan:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return scan_tree(tmp_path, RULES)


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
@pytest.mark.parametrize("name", ["app.py", ".env", "notes.md", "tests/conftest.py", "config.json", "NoExtension"])
def test_a_token_blocks_wherever_it_stands_and_is_never_repeated(
    tmp_path: Path, kind: str, secret: str, name: str
) -> None:
    scan = scanned(tmp_path, {name: f'first line\nVALUE = "{secret}"\n'})
    (finding,) = [entry for entry in scan.findings if entry.blocks]
    assert (finding.file, finding.line, finding.severity) == (name, 2, "critical")
    assert kind in finding.message
    assert hashlib.sha256(secret.encode()).hexdigest() in finding.message
    assert secret not in repr(scan)
    assert secret[8:] not in repr(scan)


def test_a_private_key_is_found_and_a_mention_is_not(tmp_path: Path) -> None:
    scan = scanned(
        tmp_path, {"key.pem": pem(), "code.py": f'MARK = "-----BEGIN {"PRIVATE"} KEY-----"\n', "env": json.dumps(pem())}
    )
    assert sorted(entry.file for entry in scan.findings if entry.blocks) == ["env", "key.pem"]


def test_secrets_in_the_git_configuration_are_found(tmp_path: Path) -> None:
    token = SECRETS["GitHub Token"]
    scan = scanned(
        tmp_path, {".git/config": f"[remote]\n url = https://x:{token}@example.com/a.git\n", ".git/other": token}
    )
    assert [entry.file for entry in scan.findings if entry.blocks] == [".git/config"]


@pytest.mark.parametrize(
    ("name", "line", "severity", "blocks"),
    [
        ("settings.py", 'DB_PASSWORD = "k3Yp-92!xvQ"', "high", True),
        ("app.yaml", "password: k3Yp-92!xvQ", "high", True),
        ("tests/test_x.py", 'password = "k3Yp-92!xvQ"', "low", False),
        ("docs/a.md", 'password = "k3Yp-92!xvQ"', "low", False),
        ("a.py", 'url = "https://admin:k3Ypq92xvQ@db.internal/x"', "high", True),
        ("a.py", 'password = "changeme"', "info", False),
        ("a.py", 'password = "password123"', "info", False),
        ("a.py", 'secret = "some.dotted.identifier"', "info", False),
    ],
)
def test_what_is_likely_is_weighed_by_its_value_and_place(
    tmp_path: Path, name: str, line: str, severity: str, blocks: bool
) -> None:
    scan = scanned(tmp_path, {name: line + "\n"})
    assert [(entry.severity, entry.blocks) for entry in scan.findings] == [(severity, blocks)]


@pytest.mark.parametrize(
    "text",
    [
        'password = os.environ["DB_PASSWORD"]',
        "password: ${DB_PASSWORD}",
        'password = "{{ secret }}"',
        "def check_password(password): ...",
        'api_key = get_secret("name")',
        'id = "0f4d1d7e-5c0e-5d5e-9a53-4b2f0a6a7c11"',
        f'wasm = "{made(200)}AKIA{made(16, BASE32)}{made(200, seed=5)}"',
        "see https://example.com/a?b=c",
    ],
)
def test_everyday_text_blocks_nothing(tmp_path: Path, text: str) -> None:
    assert [entry for entry in scanned(tmp_path, {"app.py": text}).findings if entry.blocks] == []


def test_a_documented_example_is_told_and_does_not_block(tmp_path: Path) -> None:
    scan = scanned(tmp_path, {"a.py": 'KEY = "AKIA' + 'IOSFODNN7EXAMPLE"\n', "b.py": 'T = "ghp_' + "x" * 36 + '"\n'})
    assert [(entry.severity, entry.blocks) for entry in scan.findings] == [("info", False)] * 2


def test_a_pragma_and_the_allow_list_are_respected_and_told(tmp_path: Path) -> None:
    token, other = SECRETS["GitHub Token"], SECRETS["Stripe Access Key"]
    digest = hashlib.sha256(other.encode()).hexdigest()
    files = {
        "a.py": f'T = "{token}"  # pragma: allowlist secret\n',
        "b.py": f'S = "{other}"\n',
        "c.py": f'S = "{other}"\n',
        ".interlock-secrets.yaml": f"allow:\n  - {{sha256: {digest}, file: b.py, reason: expired in May}}\n",
    }
    scan = scanned(tmp_path, files)
    told = {entry.file: entry for entry in scan.findings}
    assert "allow-listed: by a pragma" in told["a.py"].message
    assert "allow-listed: expired in May" in told["b.py"].message
    assert (told["a.py"].blocks, told["b.py"].blocks, told["c.py"].blocks) == (False, False, True)
    assert scan.allowed == 2


def test_a_broken_allow_list_allows_nothing(tmp_path: Path) -> None:
    scan = scanned(tmp_path, {"a.py": f'T = "{SECRETS["GitHub Token"]}"\n', ".interlock-secrets.yaml": "allow: [\n"})
    assert {entry.id for entry in scan.findings} == {"broken-allow-list", "secret-github-token"}
    assert any(entry.blocks for entry in scan.findings)


def test_lock_files_are_searched_for_tokens_only(tmp_path: Path) -> None:
    text = f'{{"integrity": "sha512-{made(86)}==", "password": "k3Yp-92!xvQ", "token": "{SECRETS["GitHub Token"]}"}}'
    scan = scanned(tmp_path, {"package-lock.json": text})
    assert [entry.id for entry in scan.findings] == ["secret-github-token"]


def test_utf16_is_searched_and_binary_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(f"token {SECRETS['GitHub Token']}".encode("utf-16"))
    (tmp_path / "b.bin").write_bytes(b"\x00\x01" + SECRETS["GitHub Token"].encode())
    scan = scan_tree(tmp_path, RULES)
    assert [entry.file for entry in scan.findings] == ["a.txt"]
    assert (scan.files, scan.binary) == (2, 1)


def test_long_lines_and_many_matches_stay_bounded(tmp_path: Path) -> None:
    minified = "password='x';" * 50_000
    many = "\n".join(f'K{number} = "ghp_{made(36, seed=number)}"' for number in range(1000))
    scan = scanned(tmp_path, {"a.min.js": minified, "b.js": minified, "c.py": many})
    assert sum(entry.file == "c.py" for entry in scan.findings) == 200


@given(st.text(max_size=400))
def test_no_text_crashes_a_detector(text: str) -> None:
    lowered = lower_of(text)
    assert len(lowered) == len(text)
    for hit in [*by_pattern(text, lowered, EVERY), *by_key_block(text), *by_keyword("a.py", text, lowered)]:
        assert 0 <= hit.offset <= len(text)


EVERY = detectors(RULES)


def test_every_pattern_plugin_of_detect_secrets_is_weighed_or_left_out_on_purpose() -> None:
    from interlock.skills.repository.secret_rules import _plugins

    # An address is no secret; private keys have a detector of their own that wants the key, not its heading.
    assert set(_plugins()) - set(RULES.detectors) == {"Public IP (ipv4)", "Private Key"}


def test_rules_that_name_an_unknown_plugin_are_refused() -> None:
    import msgspec

    wrong = msgspec.structs.replace(RULES, detectors=RULES.detectors | {"No Such": RULES.detectors["GitHub Token"]})
    with pytest.raises(ValueError, match="No Such"):
        detectors(wrong)
