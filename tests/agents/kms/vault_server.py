"""An HTTP server that speaks the API of Vault's transit engine with real keys."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TOKEN = "hvs.test"


class Transit:
    """Named keys with versions: /v1/<mount>/keys/<name>, /v1/<mount>/sign/<name>."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519

        self.keys: dict[str, tuple[str, list[Any]]] = {
            "ed": ("ed25519", [ed25519.Ed25519PrivateKey.generate() for _ in range(2)]),
            "ec": ("ecdsa-p256", [ec.generate_private_key(ec.SECP256R1())]),
            "big": ("ecdsa-p384", [ec.generate_private_key(ec.SECP384R1())]),
            "aes": ("aes256-gcm96", []),
        }
        self.signs_with = 0

    def read(self, name: str) -> dict[str, Any]:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        kind, keys = self.keys[name]
        listed: dict[str, Any] = {"1": 1_700_000_000}
        for number, key in enumerate(keys, 1):
            public = key.public_key()
            if kind == "ed25519":
                text = base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
            else:
                text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            listed[str(number)] = {"public_key": text}
        return {"type": kind, "latest_version": max(1, len(keys)), "keys": listed}

    def sign(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        kind, keys = self.keys[name]
        version = self.signs_with or body["key_version"]
        message = base64.b64decode(body["input"])
        key = keys[version - 1]
        signature = key.sign(message) if kind == "ed25519" else key.sign(message, ec.ECDSA(hashes.SHA256()))
        return {"signature": f"vault:v{version}:{base64.b64encode(signature).decode()}"}


@pytest.fixture
def transit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transit]:
    state = Transit()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, body: dict[str, Any]) -> None:
            parts = self.path.strip("/").split("/")
            if self.headers.get("X-Vault-Token") != TOKEN:
                return self._send(403, {"errors": ["permission denied"]})
            if parts[:2] != ["v1", "transit"] or len(parts) != 4 or parts[3] not in state.keys:
                return self._send(404, {"errors": []})
            data = state.read(parts[3]) if parts[2] == "keys" else state.sign(parts[3], body)
            return self._send(200, {"data": data})

        def _send(self, code: int, value: dict[str, Any]) -> None:
            text = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        do_PUT = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
