"""What travels between replicas and to the coordinator survives msgpack and its unions."""

from __future__ import annotations

import msgspec
import pytest

from daycache_ray.words.messages import (
    AskConfiguration,
    Configuration,
    Configure,
    CoordinatorMessage,
    CopyAck,
    CopyPart,
    Intent,
    PeerMessage,
    Prepare,
    PrepareAck,
    Propose,
)
from daycache_ray.words.records import LogRecord, RecordKind
from daycache_ray.words.types import Member, ShardId

A, B = Member(0, 1), Member(1, 2)
SHARD = ShardId("orders", 0)


@pytest.mark.parametrize(
    "message",
    [
        Prepare(A, 3, 2, 10, 2, (LogRecord(11, 2, RecordKind.PUT, b"k", b"v", client=1 << 62, strong=True),), 9, 11, 5),
        PrepareAck(B, 2, True, 11, 5),
        CopyPart(A, 2, 1, 3, 10, 2, ((b"k", b"v"),), True, 12, 99, ((1, 2, 3, 1, 2, 3, 0.5),)),
        CopyAck(B, 2, 1, 3),
    ],
)
def test_peer_messages_travel(message: PeerMessage) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=PeerMessage) == message


@pytest.mark.parametrize("message", [Propose(SHARD, A, 3, Intent.ADD, (B,)), AskConfiguration(SHARD, B)])
def test_coordinator_messages_travel(message: CoordinatorMessage) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=CoordinatorMessage) == message


def test_a_configure_travels_with_its_members() -> None:
    message = Configure(SHARD, Configuration(3, 2, A, (A, B), (A, B), 1), B)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=Configure)
    assert again == message
    assert isinstance(again.configuration.in_sync[0], Member)
