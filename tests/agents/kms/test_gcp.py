"""Google Cloud KMS through its own client, against a gRPC server that speaks its protocol with real keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from interlock.agents.errors import UserError
from interlock.agents.kms import open_signer
from interlock.agents.kms.signatures import ECDSA, is_valid

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
grpc = pytest.importorskip("grpc")
NAME = "projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"


class Service:
    """GetPublicKey and AsymmetricSign of google.cloud.kms.v1.KeyManagementService. change: what goes wrong."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self.key: Any = ec.generate_private_key(ec.SECP256R1())
        self.change: Callable[[Any], None] = lambda answer: None

    def public_key(self, request: Any, context: Any) -> Any:
        import google_crc32c
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        from google.cloud.kms_v1 import PublicKey

        if request.name != NAME:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such key version")
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        answer = PublicKey(pem=pem.decode(), name=NAME, pem_crc32c=google_crc32c.value(pem))
        self.change(answer)
        return answer

    def sign(self, request: Any, context: Any) -> Any:
        import google_crc32c
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from google.cloud.kms_v1 import AsymmetricSignResponse

        digest = request.digest.sha256
        signature = self.key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        answer = AsymmetricSignResponse(
            name=NAME,
            signature=signature,
            signature_crc32c=google_crc32c.value(signature),
            verified_digest_crc32c=request.digest_crc32c == google_crc32c.value(digest),
        )
        self.change(answer)
        return answer


@pytest.fixture
def service() -> Service:
    pytest.importorskip("google.cloud.kms_v1")
    return Service()


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    from google.cloud.kms_v1 import AsymmetricSignRequest, AsymmetricSignResponse, GetPublicKeyRequest, PublicKey

    def method(call: Any, request: Any, response: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(call, request.deserialize, response.serialize)

    methods = {
        "GetPublicKey": method(service.public_key, GetPublicKeyRequest, PublicKey),
        "AsymmetricSign": method(service.sign, AsymmetricSignRequest, AsymmetricSignResponse),
    }
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.method_handlers_generic_handler("google.cloud.kms.v1.KeyManagementService", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_message_is_signed_and_verified_without_the_service(address: str) -> None:
    signer = open_signer(f"gcpkms://{address}/{NAME}")
    signature = signer.sign(b"message")
    assert is_valid(ECDSA, signer.key_id, signer.public_key, b"message", signature)
    assert not is_valid(ECDSA, signer.key_id, signer.public_key, b"massage", signature)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("gcpkms:k", "bad_key"),
        ("gcpkms:", "bad_key"),
        ("gcpkms://projects/p", "bad_key"),
        (f"gcpkms:{NAME}/..", "bad_key"),
        (f"gcpkms:{NAME[:-1]}0", "bad_key"),
        (f"gcpkms://ADDRESS/{NAME}2", "kms_refused"),
        (f"gcpkms://127.0.0.1:9/{NAME}", "kms_refused"),
    ],
)
def test_what_cannot_be_used_is_said(address: str, place: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.agents.kms.gcp.TIMEOUT_S", 2.0)
    with pytest.raises(UserError, match=reason):
        open_signer(place.replace("ADDRESS", address))


def test_without_credentials_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(UserError, match="Google KMS"):
        open_signer(f"gcpkms:{NAME}")


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: setattr(answer, "signature", answer.signature[:-1]),
        lambda answer: setattr(answer, "verified_digest_crc32c", False),
        lambda answer: setattr(answer, "name", NAME + "1"),
    ],
)
def test_an_answer_damaged_on_its_way_is_refused(address: str, service: Service, change: Callable[[Any], None]) -> None:
    signer = open_signer(f"gcpkms://{address}/{NAME}")
    service.change = change
    with pytest.raises(UserError, match="damaged"):
        signer.sign(b"x")


def test_a_damaged_public_key_is_refused(address: str, service: Service) -> None:
    service.change = lambda answer: setattr(answer, "pem_crc32c", 7)
    with pytest.raises(UserError, match="damaged"):
        open_signer(f"gcpkms://{address}/{NAME}")


def test_a_signature_of_another_key_is_refused(address: str, service: Service) -> None:
    signer = open_signer(f"gcpkms://{address}/{NAME}")
    service.key = Service().key
    with pytest.raises(UserError, match="bad_signature"):
        signer.sign(b"x")
