"""Posting: what counts as taken, what is worth another try, and that no answer holds anybody up."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interlock.agents.posting import NotTaken, Webhook, post, url_problem
from tests.agents.approvals.test_notify import SECRET, Receiver

pytestmark = pytest.mark.anyio
Answer = Callable[[socket.socket], None]


class Rude:
    """A server on loopback that reads a request's head and does with the connection as it likes."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self.answer, self.context = answer, context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.ended = threading.Event()
        self.gone = threading.Event()  # the other side has hung up
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    @property
    def hook(self) -> Webhook:
        port = self.listener.getsockname()[1]
        return Webhook(url=f"{'https' if self.context else 'http'}://127.0.0.1:{port}/x", secret=SECRET)

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self.listener.accept()
            with self.context.wrap_socket(connection, server_side=True) if self.context else connection as stream:
                stream.recv(65536)
                try:
                    self.answer(stream)
                except OSError:
                    self.gone.set()
                self.ended.wait(10)

    def stop(self) -> None:
        self.ended.set()
        self.listener.close()
        self.thread.join()


@pytest.fixture
def rude() -> Iterator[Callable[..., Rude]]:
    made: list[Rude] = []

    def make(answer: Answer, context: ssl.SSLContext | None = None) -> Rude:
        made.append(Rude(answer, context))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(200)
    yield made
    made.stop()


def says(data: bytes) -> Answer:
    return lambda connection: connection.sendall(data)


async def test_what_is_sent_is_whole_and_signed(receiver: Receiver) -> None:
    body = "häßlich\n".encode() * 20_000
    await post(receiver.hook, body, 1_234_999, content_type="text/plain")
    ((headers, got),) = receiver.got
    assert got == body
    assert (headers["Content-Type"], headers["Interlock-Timestamp"]) == ("text/plain", "1234")
    assert headers["Interlock-Signature"] == "sha256=" + hmac.new(SECRET, b"1234." + body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(("status", "again"), [(500, True), (429, True), (400, False), (404, False), (302, False)])
async def test_which_answers_are_worth_another_try(receiver: Receiver, status: int, again: bool) -> None:
    receiver.statuses = [status]
    with pytest.raises(NotTaken, match=str(status)) as refused:
        await post(receiver.hook, b"{}", 1)
    assert (refused.value.again, refused.value.status) == (again, status)
    assert len(receiver.got) == 1, "redirects are not followed"


async def test_nobody_there_is_worth_another_try_and_is_named() -> None:
    with pytest.raises(NotTaken, match=r"127\.0\.0\.1: .*Errno") as refused:
        await post(Webhook(url="http://127.0.0.1:1/", secret=SECRET), b"{}", 1)
    assert refused.value.again


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"hello\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20), "DelimiterNotFound"),
    ],
)
async def test_what_is_no_answer(rude: Callable[..., Rude], data: bytes, detail: str) -> None:
    with pytest.raises(NotTaken, match=detail) as refused:
        await post(rude(says(data)).hook, b"{}", 1)
    assert refused.value.again


async def test_who_hangs_up_without_a_word(rude: Callable[..., Rude]) -> None:
    with pytest.raises(NotTaken):
        await post(rude(lambda connection: connection.shutdown(socket.SHUT_RDWR)).hook, b"{}", 1)


async def test_what_comes_before_the_answer_is_passed_over(rude: Callable[..., Rude]) -> None:
    await post(rude(says(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 204 \r\n\r\n")).hook, b"{}", 1)


async def test_of_a_huge_answer_nothing_is_read(rude: Callable[..., Rude]) -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * (1 << 20))

    server = rude(endless)
    await post(server.hook, b"{}", 1)
    assert server.gone.wait(5)


@pytest.mark.parametrize("drips", [False, True])
async def test_however_slow_the_answer_the_time_for_it_is_bounded(rude: Callable[..., Rude], drips: bool) -> None:
    def drip(connection: socket.socket) -> None:
        while drips:
            connection.sendall(b"H")
            time.sleep(0.02)

    server = rude(drip)
    began_s = time.monotonic()
    with pytest.raises(NotTaken, match=r"no answer within 0\.2 s") as refused:
        await post(server.hook, b"{}", 1, timeout_s=0.2)
    assert refused.value.again
    assert time.monotonic() - began_s < 3
    assert not drips or server.gone.wait(5), "the connection is closed"


def certificate(place: Path, *names: str) -> Path:
    """Key and certificate of itself for names and 127.0.0.1 if no name is given, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "witness")])
    now = datetime.datetime.now(datetime.UTC)
    of: list[x509.GeneralName] = [x509.DNSName(one) for one in names]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(of or [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = place / "pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("trusted", "names", "problem"),
    [(True, (), ""), (False, (), "self-signed certificate"), (True, ("elsewhere.example",), "IP address mismatch")],
)
async def test_certificates_are_judged(
    rude: Callable[..., Rude],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
    names: tuple[str, ...],
    problem: str,
) -> None:
    pem = certificate(tmp_path, *names)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = rude(says(b"HTTP/1.1 200 OK\r\n\r\n"), context)
    if problem:
        with pytest.raises(NotTaken, match=problem) as refused:
            await post(server.hook, b"{}", 1)
        assert refused.value.again
    else:
        await post(server.hook, b"{}", 1)


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://hooks.example.com/services/T/B/x", True),
        ("http://127.0.0.1:8080/", True),
        ("http://localhost/", True),
        ("http://[::1]:8080/", True),
        ("http://hooks.example.com/", False),
        ("https://", False),
        ("https://a:99999999/", False),
        ("https://name:password@a.example/", False),
        ("https://a.example/a b", False),
        ("https://a.example/\r\nX: y", False),
        ("https://zürich.example/", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
async def test_where_anything_may_be_posted(url: str, fits: bool) -> None:
    assert (url_problem(url) == "") is fits
