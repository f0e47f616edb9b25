"""An asyncio connection to a replica: many requests in flight, answers matched by id."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import count

from daycache_ray.wire.address import SocketAddress
from daycache_ray.wire.failures import error_of
from daycache_ray.wire.frames import FrameReader, decode_answer, request_frame
from daycache_ray.words.errors import ProtocolError, ShardUnavailableError, UnknownOutcomeError
from daycache_ray.words.operations import PROTOCOL_VERSION, Answer, Failure, Hello, Request


class AsyncConnection(asyncio.Protocol):
    """One socket, greeted, shared by all tasks of one event loop."""

    def __init__(self, address: SocketAddress) -> None:
        self.address = address
        self.closed = False
        self._reader = FrameReader()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._ids = count(1)
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls, address: SocketAddress, *, cluster: str, token: str, client: int, service: str, deadline_s: float
    ) -> AsyncConnection:
        """Return a greeted connection; raises as `Connection.open` does."""
        loop = asyncio.get_running_loop()
        try:
            if address.path:
                opening = loop.create_unix_connection(lambda: cls(address), address.path)
            else:
                opening = loop.create_connection(lambda: cls(address), address.host, address.port)
            _, connection = await asyncio.wait_for(opening, deadline_s)
        except (OSError, asyncio.TimeoutError) as error:
            raise ShardUnavailableError(f"no replica answers at {address}: {error}") from None
        try:
            await connection.call(Hello(0, PROTOCOL_VERSION, cluster, token, client, service), deadline_s)
        except UnknownOutcomeError as error:
            raise ShardUnavailableError(f"the replica at {address} hung up: {error}") from None
        except BaseException:
            connection.close()
            raise
        return connection

    def next_id(self) -> int:
        """Return a request id that this connection has not used."""
        return next(self._ids)

    async def call(self, request: Request, deadline_s: float) -> Answer:
        """Send a request and return its answer; raises as `Connection.call`, but a late answer does
        not close the connection."""
        request_id: int = request.id  # type: ignore[union-attr]
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        try:
            self.send(request)
            answer = await asyncio.wait_for(future, deadline_s)
        except asyncio.TimeoutError:
            raise UnknownOutcomeError(f"no answer from {self.address} within {deadline_s:.3f} s") from None
        finally:
            self._waiting.pop(request_id, None)
        if type(answer) is Failure:
            raise error_of(answer)
        return answer

    def send(self, request: Request) -> None:
        """Send a request without waiting; raises ShardUnavailableError when the socket is closed."""
        if self._transport is None or self.closed:
            raise ShardUnavailableError(f"the connection to {self.address} is closed")
        self._transport.write(request_frame(request))

    def close(self) -> None:
        """Hang up; harmless when done twice."""
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        try:
            for frame in self._reader.feed(data):
                answer = decode_answer(frame)
                future = self._waiting.pop(answer.id, None)
                if future is not None and not future.done():
                    future.set_result(answer)
        except ProtocolError as error:
            self._fail(error)
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self.closed = True
        self._fail(UnknownOutcomeError(f"the connection to {self.address} broke: {error or 'closed'}"))

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                with contextlib.suppress(asyncio.InvalidStateError):
                    future.set_exception(error)
