"""`gcpkms:projects/…/cryptoKeyVersions/N`: a key version of Google Cloud KMS, EC_SIGN_P256_SHA256.

`gcpkms://projects/…` means the same; `gcpkms://127.0.0.1:PORT/projects/…` speaks plain gRPC to a server on this machine.
Digest and signature travel with their CRC32C, as Google asks for.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from interlock.agents.errors import UserError
from interlock.agents.kms.extra import library
from interlock.agents.kms.signatures import Signer, ecdsa_signer

_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+/cryptoKeyVersions/[1-9][0-9]*")
_LOCAL = re.compile(r"//(127\.0\.0\.1:[0-9]{1,5})/(.*)", re.DOTALL)
_MEND = "Check credentials, the key version's name, and the role cloudkms.signerVerifier"
TIMEOUT_S = 10.0


def open_key(place: str) -> Signer:
    kms, failures = library("google.cloud.kms_v1", "gcp"), library("google.api_core.exceptions", "gcp")
    auth = library("google.auth.exceptions", "gcp")
    crc = library("google_crc32c", "gcp")
    pem = library("cryptography.hazmat.primitives.serialization", "gcp")
    local = _LOCAL.fullmatch(place)
    name = local[2] if local else place.removeprefix("//")
    if not _NAME.fullmatch(name):
        raise UserError("bad_key", f"`{name[:200]}` names no key version", "gcpkms:projects/…/cryptoKeyVersions/1", 2)
    errors = (failures.GoogleAPICallError, failures.RetryError, auth.GoogleAuthError)
    try:
        client = _local_client(kms, local[1]) if local else kms.KeyManagementServiceClient()
        public = client.get_public_key(request={"name": name}, timeout=TIMEOUT_S, retry=None)
    except errors as error:
        raise _unusable(error) from error
    if public.pem_crc32c is not None and public.pem_crc32c != crc.value(public.pem.encode()):
        raise UserError("kms_refused", "Google KMS: the public key was damaged on its way", "Try again")
    key = pem.load_pem_public_key(public.pem.encode())
    spki: bytes = key.public_bytes(pem.Encoding.DER, pem.PublicFormat.SubjectPublicKeyInfo)

    def sign(message: bytes) -> bytes:
        digest = hashlib.sha256(message).digest()
        request: dict[str, Any] = {
            "name": name,
            "digest": {"sha256": digest},
            "digest_crc32c": crc.value(digest),
        }
        try:
            answer = client.asymmetric_sign(request=request, timeout=TIMEOUT_S, retry=None)
        except errors as error:
            raise _unusable(error) from error
        signature: bytes = answer.signature
        intact = answer.verified_digest_crc32c and answer.signature_crc32c == crc.value(signature)
        if not intact or answer.name != name:
            raise UserError("kms_refused", "Google KMS: the answer was damaged on its way", "Try again")
        return signature

    return ecdsa_signer(spki, sign)


def _local_client(kms: Any, address: str) -> Any:
    grpc, credentials = library("grpc", "gcp"), library("google.auth.credentials", "gcp")
    transports = library("google.cloud.kms_v1.services.key_management_service.transports", "gcp")
    channel = grpc.insecure_channel(address)
    transport = transports.KeyManagementServiceGrpcTransport(
        channel=channel, credentials=credentials.AnonymousCredentials()
    )
    return kms.KeyManagementServiceClient(transport=transport)


def _unusable(error: Exception) -> UserError:
    return UserError("kms_refused", f"Google KMS: {str(error)[:300]}", _MEND)
