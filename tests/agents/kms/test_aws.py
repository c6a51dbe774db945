"""AWS KMS through boto3, against moto's server over HTTP."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from interlock.agents.errors import UserError
from interlock.agents.kms import open_signer
from interlock.agents.kms.signatures import ECDSA, MAX_MESSAGE_BYTES, is_valid

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def kms(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import boto3

    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "eu-central-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    return boto3.client("kms", endpoint_url=f"http://{endpoint}")


def made(kms: Any, spec: str = "ECC_NIST_P256") -> Any:
    return kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec=spec)["KeyMetadata"]


def test_a_message_is_signed_and_verified_without_the_service(kms: Any, endpoint: str) -> None:
    key = made(kms)
    kms.create_alias(AliasName="alias/bundles", TargetKeyId=key["KeyId"])
    signers = [open_signer(f"awskms://{endpoint}/{name}") for name in (key["KeyId"], key["Arn"], "alias/bundles")]
    assert len({(signer.scheme, signer.key_id, signer.public_key) for signer in signers}) == 1
    signature = signers[0].sign(b"message")
    one = signers[0]
    assert is_valid(ECDSA, one.key_id, one.public_key, b"message", signature)
    assert not is_valid(ECDSA, one.key_id, one.public_key, b"massage", signature)


def test_the_endpoint_may_come_from_the_environment(kms: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://{endpoint}")
    key = made(kms)
    assert open_signer(f"awskms:{key['KeyId']}").sign(b"x")


def test_what_cannot_be_used_is_said(kms: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="kms_refused"):
        open_signer(f"awskms://{endpoint}/00000000-0000-0000-0000-000000000000")
    with pytest.raises(UserError, match="bad_key"):
        open_signer(f"awskms://{endpoint}/{made(kms, 'ECC_NIST_P384')['KeyId']}")
    with pytest.raises(UserError, match="too_large"):
        open_signer(f"awskms://{endpoint}/{made(kms)['KeyId']}").sign(bytes(MAX_MESSAGE_BYTES + 1))
    monkeypatch.setattr("interlock.agents.kms.aws.TIMEOUT_S", 1)
    with pytest.raises(UserError, match="kms_refused"):
        open_signer("awskms://127.0.0.1:9/key")


def test_a_key_that_went_away_is_said(kms: Any, endpoint: str) -> None:
    key = made(kms)["KeyId"]
    signer = open_signer(f"awskms://{endpoint}/{key}")
    urllib.request.urlopen(urllib.request.Request(f"http://{endpoint}/moto-api/reset", method="POST")).close()
    with pytest.raises(UserError, match="AWS KMS"):
        signer.sign(b"x")
