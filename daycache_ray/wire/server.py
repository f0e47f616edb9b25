"""The socket of an actor: greets, cuts frames, hands requests on, writes answers. Decides nothing.

Until its hello was right a connection may say nothing else. Bytes that are no frame close the
connection and are counted; other connections do not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final, Protocol

import structlog

from daycache_ray.structures.spin_budget import SpinBudget
from daycache_ray.wire.failures import failure_of
from daycache_ray.wire.frames import (
    PEER,
    REQUEST,
    FrameReader,
    answer_frame,
    decode_peer,
    decode_request,
    error_frame,
)
from daycache_ray.words.errors import AccessDeniedError, CacheError, ProtocolError, ProtocolVersionError
from daycache_ray.words.messages import PeerMessage
from daycache_ray.words.operations import PROTOCOL_VERSION, Answer, Hello, Request, Welcome


class RequestHandler(Protocol):
    """What lives behind the socket."""

    def on_request(self, connection: ServerConnection, request: Request) -> None:
        """Take a request; answer now or later with `connection.answer`."""
        ...

    def on_peer(self, message: PeerMessage) -> None:
        """Take a message of another replica."""
        ...

    def on_read(self, connection: ServerConnection) -> None:
        """Everything that one read of a connection brought has been handed over."""
        ...

    def on_closed(self, connection: ServerConnection) -> None:
        """A greeted connection is gone."""
        ...


_LINGER_NS: Final = 150_000
"""How long a server looks for the next request before its loop sleeps."""

_log = structlog.get_logger("daycache.wire")
_numbers = count(1)


class ServerConnection(asyncio.Protocol):
    """One client's or replica's connection."""

    def __init__(self, server: SocketServer) -> None:
        self.number = next(_numbers)
        self.greeted = False
        self.is_peer = False
        self.service = ""
        self._server = server
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None

    def answer(self, answer: Answer) -> None:
        """Write an answer; nothing happens when the client is gone."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(answer_frame(answer))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        server = self._server
        server.lingering.note_read()
        try:
            frames = self._reader.feed(data)
            for frame in frames:
                self._frame(frame)
        except ProtocolError as error:
            self._server.protocol_errors_count += 1
            self._hang_up(error)
        except CacheError as error:
            self._hang_up(error)
        finally:
            server.handler.on_read(self)
            server.lingering.begin()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self._transport = None
        self._server.connections.discard(self)
        if self.greeted:
            self._server.handler.on_closed(self)

    def pause_writing(self) -> None:
        """A client that does not read its answers is not read either."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by the event loop."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _frame(self, frame: object) -> None:
        if not isinstance(frame, list) or len(frame) != 2 or not isinstance(frame[1], bytes):
            raise ProtocolError("expected the array DC <request>")
        if frame[0] == REQUEST:
            request = decode_request(frame[1])
            if self.greeted and type(request) is not Hello:
                self._handle(request)
            else:
                self._greet(request)
        elif frame[0] == PEER and self.greeted:
            self.is_peer = True
            self._server.handler.on_peer(decode_peer(frame[1]))
        else:
            raise ProtocolError("expected the array DC <request>, a hello first")

    def _handle(self, request: Request) -> None:
        try:
            self._server.handler.on_request(self, request)
        except Exception as error:  # one bad request must not end the actor; its client hears of it
            self._server.failures_count += 1
            self._server.report(error)
            self.answer(failure_of(getattr(request, "id", 0), error))

    def _greet(self, request: Request) -> None:
        if type(request) is not Hello:
            raise ProtocolError("say hello first")
        if request.protocol_version != PROTOCOL_VERSION:
            text = f"this cluster speaks protocol {PROTOCOL_VERSION}, the client {request.protocol_version}"
            raise ProtocolVersionError(f"{text}: install the same release on both sides")
        token_fits = hmac.compare_digest(request.token.encode(), self._server.token.encode())
        if request.cluster != self._server.cluster or not token_fits:
            text = f"the hello does not open cluster '{self._server.cluster}'"
            raise AccessDeniedError(f"{text}: connect by daycache.connect")
        self.greeted = True
        self.service = request.service
        self.answer(Welcome(request.id, self._server.seat, 0))

    def _hang_up(self, error: CacheError) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            if self.greeted or isinstance(error, (AccessDeniedError, ProtocolVersionError)):
                transport.write(answer_frame(failure_of(0, error)))
            else:
                transport.write(error_frame(f"Protocol error: {error.message}"))
            transport.close()


class Lingering:
    """Keeps an event loop awake for a moment after a read, while that pays: the next request is mostly near."""

    def __init__(self) -> None:
        self._budget = SpinBudget()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_awake = False
        self._until_ns = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Linger in this loop from now on; not where there is but one core for both sides."""
        if len(os.sched_getaffinity(0)) > 1:
            self._loop = loop

    def note_read(self) -> None:
        """Something came."""
        if self.is_awake:
            self._budget.won()

    def begin(self) -> None:
        """Look for more until a moment from now."""
        if self.is_awake:
            self._until_ns = time.perf_counter_ns() + _LINGER_NS
        elif self._loop is not None and self._budget.is_worth():
            self.is_awake = True
            self._until_ns = time.perf_counter_ns() + _LINGER_NS
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        # A loop with something to call does not sleep in its poll; that is all there is to it.
        if time.perf_counter_ns() < self._until_ns and self._loop is not None:
            os.sched_yield()  # whoever is to send the next request may wait for this very core
            self._loop.call_soon(self._look)
        else:
            self.is_awake = False
            self._budget.lost()


class SocketServer:
    """Listens on a Unix socket for this node and on a TCP port for others."""

    def __init__(self, handler: RequestHandler, *, cluster: str, token: str, seat: int = -1) -> None:
        self.handler = handler
        self.cluster = cluster
        self.token = token
        self.seat = seat
        self.protocol_errors_count = 0
        self.failures_count = 0
        self.connections: set[ServerConnection] = set()
        self.lingering = Lingering()
        self._servers: list[asyncio.Server] = []
        self._path: Path | None = None
        self.port = 0

    async def listen(self, path: Path, host: str) -> None:
        """Open both sockets; `self.port` is the TCP port that the kernel chose.

        Raises:
            OSError: the path or host cannot be bound.
        """
        loop = asyncio.get_running_loop()
        self.lingering.start(loop)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        unix.bind(str(path))
        os.chmod(path, 0o600)
        factory: Callable[[], ServerConnection] = lambda: ServerConnection(self)  # noqa: E731
        self._servers.append(await loop.create_unix_server(factory, sock=unix, backlog=1024))
        tcp = await loop.create_server(factory, host=host, port=0, backlog=1024)
        self._servers.append(tcp)
        self.port = tcp.sockets[0].getsockname()[1]
        self._path = path

    def report(self, error: Exception) -> None:
        """Log what a handler raised; typed errors are answers, not news."""
        if not isinstance(error, CacheError):
            _log.error("request failed", exc_info=error)

    def close(self) -> None:
        """Stop listening and hang up on everybody."""
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
