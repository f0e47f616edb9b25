"""An actor's socket against those who do not keep to the protocol; real sockets, no Ray."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daycache_ray.wire.address import SocketAddress
from daycache_ray.wire.async_connection import AsyncConnection
from daycache_ray.wire.frames import request_frame
from daycache_ray.wire.server import ServerConnection, SocketServer
from daycache_ray.words.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    ProtocolVersionError,
    ServerError,
    ShardUnavailableError,
    UnknownOutcomeError,
)
from daycache_ray.words.operations import AskStatistics, Hello, Read, Request, StatisticsAnswer

ANSWER_S = 5.0


class EchoHandler:
    """Answers statistics; fails on shard 1 with an error of ours, on 2 with another, is silent on 3."""

    def __init__(self) -> None:
        self.closed: list[int] = []

    def on_request(self, connection: ServerConnection, request: Request) -> None:
        assert isinstance(request, (AskStatistics, Read))
        if request.shard == 1:
            raise InvalidArgumentError("shard 1 is not here")
        if request.shard == 2:
            raise ZeroDivisionError("a defect")
        if request.shard != 3:
            connection.answer(StatisticsAnswer(request.id, {"service": connection.service}))

    def on_peer(self, message: object) -> None:
        raise AssertionError("nobody sends peer messages here")

    def on_read(self, connection: ServerConnection) -> None:
        """Nothing waits for the end of a read."""

    def on_closed(self, connection: ServerConnection) -> None:
        self.closed.append(connection.number)


@pytest.fixture
async def server() -> AsyncIterator[tuple[SocketServer, SocketAddress, EchoHandler]]:
    handler = EchoHandler()
    found = SocketServer(handler, cluster="shop", token="secret", seat=0)
    with tempfile.TemporaryDirectory(prefix="dc", dir="/tmp") as directory:
        path = Path(directory) / "socket"
        await found.listen(path, "127.0.0.1")
        assert os.stat(path).st_mode & 0o077 == 0
        yield found, SocketAddress(str(path), "", 0), handler
        found.close()


async def greeted(address: SocketAddress, *, token: str = "secret", cluster: str = "shop") -> AsyncConnection:
    return await AsyncConnection.open(
        address, cluster=cluster, token=token, client=1, service="hft", deadline_s=ANSWER_S
    )


async def ask(connection: AsyncConnection, shard: int = 0, deadline_s: float = ANSWER_S) -> StatisticsAnswer:
    answer = await connection.call(AskStatistics(connection.next_id(), "orders", shard), deadline_s)
    assert isinstance(answer, StatisticsAnswer)
    return answer


async def raw(address: SocketAddress, data: bytes) -> bytes:
    """Send bytes and return everything until the server hangs up."""
    reader, writer = await asyncio.open_unix_connection(address.path)
    writer.write(data)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), ANSWER_S)
    writer.close()
    return answer


async def test_answers_over_unix_and_tcp(server: tuple[SocketServer, SocketAddress, EchoHandler]) -> None:
    found, address, _ = server
    for way in (address, SocketAddress("", "127.0.0.1", found.port)):
        connection = await greeted(way)
        assert (await ask(connection)).fields == {"service": "hft"}
        connection.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"*-5\r\n",
        b"$-7\r\n",
        b"\x00\x01\x02\x03",
        b"*2\r\n$2\r\nDC\r\n$3\r\nxyz\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"*2\r\n$4\r\nPEER\r\n$1\r\nx\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"*2\r\n:1\r\n:2\r\n",
        request_frame(Read(1, "orders", 0, [b"k"], 1)),
    ],
)
async def test_garbage_closes_its_connection_and_no_other(
    server: tuple[SocketServer, SocketAddress, EchoHandler], garbage: bytes
) -> None:
    found, address, _ = server
    bystander = await greeted(address)
    answer = await raw(address, garbage)
    assert answer.startswith(b"-ERR Protocol error")
    assert found.protocol_errors_count == 1
    assert (await ask(bystander)).fields == {"service": "hft"}
    bystander.close()


async def test_half_a_frame_and_silence_disturb_nobody(server: tuple[SocketServer, SocketAddress, EchoHandler]) -> None:
    _, address, _ = server
    _, writer = await asyncio.open_unix_connection(address.path)
    writer.write(request_frame(Hello(0, 1, "shop", "secret", 1, "hft"))[:11])
    await writer.drain()
    connection = await greeted(address)
    assert (await ask(connection)).fields == {"service": "hft"}
    connection.close()
    writer.close()


async def test_the_greeting_must_be_right(server: tuple[SocketServer, SocketAddress, EchoHandler]) -> None:
    _, address, _ = server
    with pytest.raises(AccessDeniedError, match="connect by"):
        await greeted(address, token="wrong")
    with pytest.raises(AccessDeniedError, match="shop"):
        await greeted(address, cluster="other")
    _, writer = await asyncio.open_unix_connection(address.path)
    writer.close()
    later = AsyncConnection(address)
    loop = asyncio.get_running_loop()
    await loop.create_unix_connection(lambda: later, address.path)
    with pytest.raises((ProtocolVersionError, UnknownOutcomeError), match="protocol"):
        await later.call(Hello(0, 99, "shop", "secret", 1, "hft"), ANSWER_S)


async def test_an_error_in_a_request_is_an_answer(server: tuple[SocketServer, SocketAddress, EchoHandler]) -> None:
    found, address, _ = server
    connection = await greeted(address)
    with pytest.raises(InvalidArgumentError, match="shard 1"):
        await ask(connection, 1)
    with pytest.raises(ServerError, match="ZeroDivisionError"):
        await ask(connection, 2)
    assert found.failures_count == 2
    assert (await ask(connection)).fields == {"service": "hft"}
    connection.close()


async def test_no_answer_is_an_unknown_outcome_and_the_next_call_works(
    server: tuple[SocketServer, SocketAddress, EchoHandler],
) -> None:
    _, address, _ = server
    connection = await greeted(address)
    with pytest.raises(UnknownOutcomeError, match="no answer"):
        await ask(connection, 3, deadline_s=0.02)
    assert (await ask(connection)).fields == {"service": "hft"}
    connection.close()


async def test_nobody_there(server: tuple[SocketServer, SocketAddress, EchoHandler]) -> None:
    _, address, _ = server
    with pytest.raises(ShardUnavailableError, match="no replica answers"):
        await greeted(SocketAddress(address.path + "x", "", 0))


async def test_the_handler_hears_of_a_closed_connection(
    server: tuple[SocketServer, SocketAddress, EchoHandler],
) -> None:
    _, address, handler = server
    connection = await greeted(address)
    await ask(connection)
    connection.close()
    clock_s = asyncio.get_running_loop().time
    end_s = clock_s() + ANSWER_S
    while not handler.closed:
        assert clock_s() < end_s, "the handler did not hear of it"
        await asyncio.sleep(0.001)
