"""The transport in earnest: NATS JetStream through nats-py (asyncio).

What nats-py leaves open is closed here: publish acknowledgements that never come time out, publishing survives the
election of a new stream leader, and every error is one of ours. Facts and traps: docs/architecture/bus.md.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import msgspec
import nats.errors

from interlock.bus.clock import Clock, SystemClock
from interlock.bus.errors import LoginRefused, NobodyListens, Refused, Unavailable
from interlock.bus.jetstream import reading
from interlock.bus.jetstream.broker_errors import api_error, client_error
from interlock.bus.jetstream.connection import JetStreamSettings
from interlock.bus.jetstream.contact import check_url, confirm
from interlock.bus.jetstream.endings import close, unsubscribe
from interlock.bus.jetstream.headers import publish_headers
from interlock.bus.jetstream.hop_client import HopClient
from interlock.bus.jetstream.login import Login, client_for, forbidden_subject, inbox_prefix, is_login_refused
from interlock.bus.jetstream.publish_ack import pub_ack
from interlock.bus.jetstream.pull import Pull
from interlock.bus.streams import ConsumerSpec
from interlock.bus.tasks import background
from interlock.bus.transport import (
    NO_HEADERS,
    PACE,
    Message,
    ObjectInfo,
    OnIncoming,
    OnMessage,
    Pace,
    PubAck,
)

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from interlock.bus.streams import Declarations


log = logging.getLogger("interlock.bus")
QUIET_S = 2.0
LOGIN_TRIES = 3  # a server that reads its users anew puts out whoever is in the middle of logging in
NO_USER = "Its key must be a user of the server: see `interlock keys list`"
T = TypeVar("T")
NO_RESPONDER_PAUSE_S = 0.05


class JetStreamTransport:
    """Use as `async with JetStreamTransport.connect(url, name="executor") as transport`."""

    def __init__(self, client: HopClient, inbox: str, clock: Clock, settings: JetStreamSettings) -> None:
        self.client = client
        self.settings = settings
        self.followers: set[asyncio.Event] = set()
        self.forbidden: deque[str] = deque(maxlen=100)
        self._closed = asyncio.Event()
        self._is_connected = False
        self._refusals = 0
        self._clock = clock
        self._loop = asyncio.get_running_loop()  # asked for at every hop it costs a call of the system
        self._prefix = f"{inbox}.{client._nuid.next().decode()}"
        self._numbers = itertools.count(1)
        self._reads: dict[str, asyncio.Queue[Msg | None]] = {}
        self._waiting: dict[str, tuple[asyncio.Future[Msg], float, str]] = {}
        self._pulls: set[Pull] = set()

    @property
    def lag_ms(self) -> int:
        return self.settings.replica_lag_ms if self.client._server_info.get("cluster") else 0

    @property
    def clock(self) -> Clock:
        return self._clock

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        clock: Clock | None = None,
        settings: JetStreamSettings | None = None,
        login: Login | None = None,
        options: Mapping[str, Any] = NO_HEADERS,
    ) -> AsyncIterator[JetStreamTransport]:
        """Connects and, at the end, flushes and closes. url: one, or those of the servers of one cluster with commas. login:
        the NKey to log in with, and whose inbox is used; without it the inbox is the name's own. options: further options
        of nats-py's connect (tls). Raises LoginRefused, Refused for what is no url, and Unavailable when nobody answers
        within the connect timeout.
        """
        servers = url.split(",")
        for server in servers:
            check_url(server)
        settings = settings or JetStreamSettings()
        client = client_for(login)
        inbox = inbox_prefix(name if login is None else login.user)
        transport = cls(client, inbox, clock or SystemClock(), settings)
        try:
            with anyio.fail_after(settings.connect_timeout_ms / 1000):
                await client.connect(
                    servers,
                    name=name,
                    error_cb=transport._on_error,
                    closed_cb=transport._on_closed,
                    reconnected_cb=transport._on_reconnected,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=settings.reconnect_wait_ms / 1000,  # type: ignore[arg-type]  # floats work
                    ping_interval=settings.ping_ms / 1000,  # type: ignore[arg-type]
                    max_outstanding_pings=2,
                    inbox_prefix=inbox,
                    **options,
                )
        except nats.errors.AuthorizationError as error:
            await close(client)
            raise LoginRefused(f"the NATS server at {url} does not let {name} in", NO_USER) from error
        except (TimeoutError, OSError, nats.errors.Error) as error:
            await close(client)
            raise Unavailable(f"no NATS server answers at {url}", "Start one, or check --nats") from error
        transport._is_connected = True
        try:
            async with background() as group:
                group.start_soon(transport._until_closed, name)
                try:
                    await client.subscribe_raw(f"{transport._prefix}.ack.*", transport._on_ack)
                    await client.subscribe_raw(f"{transport._prefix}.read.*", transport._on_read)
                except nats.errors.Error as error:
                    raise Unavailable(f"the NATS server at {url} closed the connection") from error
                group.start_soon(transport._sweep)
                yield transport
        finally:
            transport._fail_waiting()
            await close(client)

    # Publishing

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
        expected_sequence: int | None = None,
    ) -> PubAck:
        sent = publish_headers(headers, message_id, expected_sequence)
        answer = await self._publish_once(subject, data, sent)
        if answer.headers is not None and answer.headers.get("Status") == "503":
            answer = await self._publish_again(subject, data, sent)
        return pub_ack(answer.data, subject)

    async def _publish_again(self, subject: str, data: bytes, headers: dict[str, str] | None) -> Msg:
        """Nobody took it: the stream may have no leader just now."""
        deadline = self._loop.time() + self.settings.no_stream_retry_ms / 1000
        while self._loop.time() < deadline:
            await anyio.sleep(self.settings.reconnect_wait_ms / 1000)
            answer = await self._publish_once(subject, data, headers)
            if answer.headers is None or answer.headers.get("Status") != "503":
                return answer
        raise Unavailable(f"no stream takes {subject}", "Run `interlock up` or `interlock doctor`")

    async def _publish_once(self, subject: str, data: bytes, headers: dict[str, str] | None) -> Msg:
        token = str(next(self._numbers))
        loop = self._loop
        future: asyncio.Future[Msg] = loop.create_future()
        self._waiting[token] = (future, loop.time() + self.settings.publish_timeout_ms / 1000, subject)
        try:
            await self.client.publish(subject, data, f"{self._prefix}.ack.{token}", headers=headers)
            return await future
        except nats.errors.Error as error:
            raise client_error(error, subject) from error
        finally:
            self._waiting.pop(token, None)

    def _on_ack(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(message)

    async def _sweep(self) -> None:
        """nats-py's own publish futures hang for ever after a crash of the server; ours are failed in time."""
        loop = asyncio.get_running_loop()
        while True:
            await anyio.sleep(0.25)
            now = loop.time()
            for future, deadline, _ in list(self._waiting.values()):
                if now > deadline and not future.done():
                    future.set_exception(Unavailable("the broker did not acknowledge in time"))

    def _fail_waiting(self) -> None:
        for future, _, _ in list(self._waiting.values()):
            if not future.done():
                future.set_exception(Unavailable("the connection was closed before the broker acknowledged"))
                future.exception()

    # Plain messages

    async def send(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] = NO_HEADERS, reply: str = ""
    ) -> None:
        try:
            await self.client.publish(subject, data, reply, headers=dict(headers) if headers else None)
        except nats.errors.Error as error:
            raise client_error(error, subject) from error

    async def request(
        self, subject: str, data: bytes, *, timeout_ms: int, headers: Mapping[str, str] = NO_HEADERS
    ) -> Message:
        sent = dict(headers) if headers else None
        try:
            try:
                answer = await self.client.request(subject, data, timeout=timeout_ms / 1000, headers=sent)
            except nats.errors.NoRespondersError:
                # Whoever answers may just be subscribing, or back from a reconnection: asked once more.
                await anyio.sleep(NO_RESPONDER_PAUSE_S)
                answer = await self.client.request(subject, data, timeout=timeout_ms / 1000, headers=sent)
        except nats.errors.NoRespondersError as error:
            raise NobodyListens(f"nobody listens on {subject}") from error
        except (nats.errors.MaxPayloadError, nats.errors.BadSubjectError) as error:
            raise client_error(error, subject) from error
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"no answer on {subject} within {timeout_ms} ms") from error
        return _plain(answer)

    @asynccontextmanager
    async def subscribe(self, subject: str, on_message: OnMessage, *, group: str = "") -> AsyncIterator[None]:
        async def hand_on(message: Msg) -> None:
            await on_message(_plain(message))

        subscription = await self.client.subscribe(subject, queue=group, cb=hand_on)
        try:
            await confirm(self.client, subject)
            yield
        finally:
            await unsubscribe(subscription)

    # Consumers

    @asynccontextmanager
    async def consume(
        self, consumer: ConsumerSpec, on_incoming: OnIncoming, *, concurrency: int
    ) -> AsyncIterator[None]:
        async with self.pulling(consumer, concurrency) as pull, background() as group:
            group.start_soon(pull.keep_asking)
            for _ in range(concurrency):
                group.start_soon(pull.work, on_incoming)
            yield

    # Reading

    async def last(self, stream: str, subject: str) -> Message | None:
        return await reading.last(self, stream, subject)

    async def get(self, stream: str, sequence: int) -> Message | None:
        return await reading.get(self, stream, sequence)

    async def count(self, stream: str, subject: str) -> int:
        return await reading.count(self, stream, subject)

    async def after(self, stream: str, subject: str, sequence: int) -> Message | None:
        return await reading.after(self, stream, subject, sequence)

    async def purge(self, stream: str, subject: str, before: int) -> int:
        return await reading.purge(self, stream, subject, before)

    def read(
        self,
        stream: str,
        subjects: Sequence[str],
        *,
        from_sequence: int = 1,
        from_ms: int | None = None,
        follow: bool = False,
        pace: Pace = PACE,
    ) -> AsyncGenerator[Message, None]:
        return reading.read(self, stream, subjects, from_sequence, from_ms, pace if follow else None)

    @asynccontextmanager
    async def pulling(self, consumer: ConsumerSpec, batch: int) -> AsyncIterator[Pull]:
        """A pull on a consumer that hears of reconnections."""
        pull = Pull(self.client, consumer, f"{self._prefix}.pull.{next(self._numbers)}", batch=batch)
        self._pulls.add(pull)
        try:
            async with pull.subscribed():
                yield pull
        finally:
            self._pulls.discard(pull)

    @contextmanager
    def answers(self) -> Iterator[tuple[str, asyncio.Queue[Msg | None]]]:
        """A reply subject and what comes to it; None: the connection was lost, and no more will come."""
        token = str(next(self._numbers))
        queue = self._reads[token] = asyncio.Queue()
        try:
            yield f"{self._prefix}.read.{token}", queue
        finally:
            del self._reads[token]

    def _on_read(self, message: Msg) -> None:
        queue = self._reads.get(message.subject.rpartition(".")[2])
        if queue is not None:
            queue.put_nowait(message)

    async def _on_reconnected(self) -> None:
        self._refusals = 0
        for pull in self._pulls:
            pull.forget()
        for queue in self._reads.values():
            queue.put_nowait(None)
        for follower in self.followers:
            follower.set()

    async def log_in_again(self) -> None:
        """Presents the key that the login holds by now, at a moment when no answer is waited for, if one comes soon."""
        with anyio.move_on_after(QUIET_S):
            while self._waiting or self._reads:
                await anyio.sleep(0.005)
        await self.client.force_reconnect()

    async def _on_closed(self) -> None:
        self._closed.set()

    async def _until_closed(self, name: str) -> None:
        """The broker no longer knows the key: nats-py would try for ever, or give up without a word."""
        await self._closed.wait()
        raise LoginRefused(f"the NATS server has put {name} out", NO_USER)

    async def _on_error(self, error: Exception) -> None:
        """What nats-py reports asynchronously also reaches its caller as a timeout or a refusal, except where the broker
        forbids a subject: that is told here alone, without saying which message it was.
        """
        if is_login_refused(error):
            self._refusals += 1
            if self.client._transport is not None:
                self.client._transport.close()  # type: ignore[no-untyped-call]  # nats-py forgets it
            if self._refusals >= LOGIN_TRIES:
                self._closed.set()
                if not self._is_connected:
                    raise nats.errors.AuthorizationError from error  # else nats-py would try until the time is up
        forbidden = forbidden_subject(str(error))
        if not forbidden:
            return
        log.warning("%s", error)
        self.forbidden.append(forbidden)
        for future, _, subject in list(self._waiting.values()):
            if subject.lower() == forbidden and not future.done():
                future.set_exception(Refused(f"the broker forbids {subject} to this key", "See docs/permissions.md"))

    async def api(self, verb: str, body: Any, answer_type: type[T]) -> T:
        """A call of the JetStream API. answer_type: a Struct with an `error` field. Raises what api_error gives."""
        data = b"" if body is None else msgspec.json.encode(body)
        try:
            answer = await self.client.request(f"$JS.API.{verb}", data, timeout=self.settings.request_timeout_ms / 1000)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the broker did not answer {verb}", "Is JetStream enabled on it?") from error
        decoded = msgspec.json.decode(answer.data, type=answer_type)
        failed = getattr(decoded, "error", None)
        if failed is not None:
            raise api_error(failed, verb)
        return decoded

    # Objects

    async def put_object(self, bucket: str, name: str, data: bytes) -> None:
        from interlock.bus.objects import put_object

        await put_object(self, bucket, name, data, self.client._nuid.next().decode())

    async def get_object(self, bucket: str, name: str) -> bytes:
        from interlock.bus.objects import get_object

        return await get_object(self, bucket, name)

    async def list_objects(self, bucket: str) -> list[ObjectInfo]:
        from interlock.bus.objects import list_objects

        return await list_objects(self, bucket)

    async def declare(self, declarations: Declarations, *, bind_only: bool = False) -> None:
        from interlock.bus.jetstream.provision import provision

        await provision(self, declarations, bind_only=bind_only)


def _plain(message: Msg) -> Message:
    return Message(
        subject=message.subject, data=message.data, headers=message.headers or NO_HEADERS, reply=message.reply
    )
