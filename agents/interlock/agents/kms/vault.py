"""`hashivault:KEY` or `hashivault:MOUNT/KEY`: a key of the transit engine of HashiCorp Vault or OpenBao, ed25519 or
ecdsa-p256. `hashivault://KEY` means the same.

Address and token as Vault's own tools take them: VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE, VAULT_CACERT. The latest
version of the key when it is opened is the one that signs.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

from interlock.agents.errors import UserError
from interlock.agents.kms.extra import library
from interlock.agents.kms.signatures import ED25519, Signer, ecdsa_signer
from interlock.envelope.keys import encode_public

_MEND = "Check VAULT_ADDR, VAULT_TOKEN and the policy for transit/keys and transit/sign"
TIMEOUT_S = 10


def open_key(place: str) -> Signer:
    hvac = library("hvac", "vault")
    mount, _, name = place.removeprefix("//").rpartition("/")
    if not name:
        raise UserError("bad_key", "no key is named", "hashivault:KEY or hashivault:MOUNT/KEY", 2)
    client = hvac.Client(
        namespace=os.environ.get("VAULT_NAMESPACE"),
        verify=os.environ.get("VAULT_CACERT", True),
        timeout=TIMEOUT_S,
    )
    transit, where = client.secrets.transit, mount or "transit"
    data = _asked(hvac, lambda: transit.read_key(name=name, mount_point=where))
    try:
        kind, version = str(data["type"]), int(data["latest_version"])
        public = str(data["keys"][str(version)]["public_key"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError("bad_key", f"Vault's key {name} cannot sign", "Use type ed25519 or ecdsa-p256", 2) from error
    if kind not in ("ed25519", "ecdsa-p256"):
        raise UserError("bad_key", f"Vault's key {name} is of type {kind}", "Use type ed25519 or ecdsa-p256", 2)

    def sign(message: bytes) -> bytes:
        answer = _asked(
            hvac,
            lambda: transit.sign_data(
                name=name,
                hash_input=base64.b64encode(message).decode(),
                hash_algorithm="sha2-256" if kind == "ecdsa-p256" else None,
                key_version=version,
                mount_point=where,
            ),
        )
        prefix, _, text = str(answer.get("signature", "")).rpartition(":")
        if prefix != f"vault:v{version}":
            raise UserError("kms_refused", f"Vault: signed with {prefix[:40]!r}, not version {version}", _MEND)
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as error:
            raise UserError("kms_refused", "Vault: the signature is not base64", _MEND) from error

    if kind == "ecdsa-p256":
        pem = library("cryptography.hazmat.primitives.serialization", "vault")
        key = pem.load_pem_public_key(public.encode())
        return ecdsa_signer(key.public_bytes(pem.Encoding.DER, pem.PublicFormat.SubjectPublicKeyInfo), sign)
    return Signer(ED25519, encode_public(base64.b64decode(public)), "", sign)


def _asked(hvac: Any, call: Callable[[], Any]) -> dict[str, Any]:
    requests = library("requests", "vault")
    try:
        answer: dict[str, Any] = call()["data"]
    except (hvac.exceptions.VaultError, requests.RequestException, KeyError, TypeError, ValueError) as error:
        raise UserError("kms_refused", f"Vault: {str(error)[:300] or type(error).__name__}", _MEND) from error
    return answer
