"""`awskms:ID`: a key of AWS KMS by id, ARN or `alias/NAME`; `awskms://HOST:PORT/ID` for an endpoint of one's own.

Credentials and region as boto3 finds them. The key is asymmetric, SIGN_VERIFY, ECC_NIST_P256. Messages are given RAW, so
that the service does the hashing.
"""

from __future__ import annotations

from typing import Any

from interlock.agents.errors import UserError
from interlock.agents.kms.extra import library
from interlock.agents.kms.signatures import Signer, ecdsa_signer

_MEND = "Check credentials (AWS_PROFILE, AWS_REGION), the key's id, and kms:Sign and kms:GetPublicKey"
TIMEOUT_S = 10


def open_key(place: str) -> Signer:
    boto3, config = library("boto3", "aws"), library("botocore.config", "aws")
    failures = library("botocore.exceptions", "aws")
    endpoint, key = _split(place)
    errors = (failures.BotoCoreError, failures.ClientError)
    try:
        settings = config.Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 3})
        client = boto3.client("kms", endpoint_url=endpoint, config=settings)
        spki: bytes = client.get_public_key(KeyId=key)["PublicKey"]
    except errors as error:
        raise _unusable(error) from error

    def sign(message: bytes) -> bytes:
        try:
            answer: dict[str, Any] = client.sign(
                KeyId=key, Message=message, MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256"
            )
        except errors as error:
            raise _unusable(error) from error
        signature: bytes = answer["Signature"]
        return signature

    return ecdsa_signer(spki, sign)


def _split(place: str) -> tuple[str | None, str]:
    if not place.startswith("//"):
        return None, place
    host, _, key = place[2:].partition("/")
    plain = host.split(":")[0] in ("127.0.0.1", "localhost")
    return (f"{'http' if plain else 'https'}://{host}" if host else None), key


def _unusable(error: Exception) -> UserError:
    return UserError("kms_refused", f"AWS KMS: {str(error)[:300]}", _MEND)
