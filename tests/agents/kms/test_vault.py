"""Vault's transit engine through hvac, against an HTTP server that speaks its API with real keys."""

from __future__ import annotations

import pytest

from interlock.agents.errors import UserError
from interlock.agents.kms import open_signer
from interlock.agents.kms.signatures import ECDSA, ED25519, is_valid
from tests.agents.kms.vault_server import Transit
from tests.agents.kms.vault_server import transit as transit

pytest.importorskip("hvac")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(("name", "scheme"), [("ed", ED25519), ("ec", ECDSA), ("transit/ec", ECDSA), ("//ed", ED25519)])
def test_a_message_is_signed_and_verified_without_the_service(transit: Transit, name: str, scheme: str) -> None:
    signer = open_signer(f"hashivault:{name}")
    signature = signer.sign(b"message")
    assert signer.scheme == scheme
    assert is_valid(scheme, signer.key_id, signer.public_key, b"message", signature)
    assert not is_valid(scheme, signer.key_id, signer.public_key, b"massage", signature)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "bad_key"),
        ("//", "bad_key"),
        ("aes", "bad_key"),
        ("big", "bad_key"),
        ("none", "kms_refused"),
        ("other/ec", "kms_refused"),
    ],
)
def test_what_cannot_be_used_is_said(transit: Transit, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        open_signer(f"hashivault:{name}")


def test_no_token_and_no_server_are_said(transit: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "wrong")
    with pytest.raises(UserError, match="permission denied"):
        open_signer("hashivault:ed")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="kms_refused"):
        open_signer("hashivault:ed")


def test_the_version_that_was_opened_signs_or_nothing(transit: Transit) -> None:
    signer = open_signer("hashivault:ed")
    transit.signs_with = 1
    with pytest.raises(UserError, match="not version 2"):
        signer.sign(b"x")
    transit.signs_with = 0
    transit.keys["ed"][1][1] = transit.keys["ed"][1][0]
    with pytest.raises(UserError, match="bad_signature"):
        signer.sign(b"x")
