"""Values at a replica's own doors: compressed ones come back, and a broken one is one caller's trouble."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daycache_ray.actors.handle_calls import HandleCalls
from daycache_ray.actors.requests import RequestDesk
from daycache_ray.storage.directory import replica_directory
from daycache_ray.storage.store import Store
from daycache_ray.words.config import ClusterConfig, RegionConfig
from daycache_ray.words.effects import Append, Apply, Commit, Serve
from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.messages import ReadAt
from daycache_ray.words.operations import Answer, Failure, Found, Read, Request
from daycache_ray.words.records import HEADER, Flag, LogRecord, RecordKind
from daycache_ray.words.types import ShardId
from tests.unit.client.one_replica import OneReplica

SHARD = ShardId("orders", 0)


class DeskOfOne:
    """A desk that has OneReplica behind it, and answers at once."""

    def __init__(self) -> None:
        self.replica = OneReplica()

    def take(self, caller: Any, request: Request, connection: int) -> None:
        caller.answer(self.replica.answer(0, request))

    def forget(self, caller: Any) -> None:
        raise AssertionError("nothing waits")


class Handle(HandleCalls):
    """The calls of a handle without an actor."""

    def __init__(self, config: RegionConfig) -> None:
        self._config = ClusterConfig(regions=[config])
        self._shard = SHARD
        self._desk: Any = DeskOfOne()

    def _region(self) -> RegionConfig:
        return self._config.regions[0]

    def _wake(self) -> None:
        pass


@pytest.mark.parametrize("method", ["none", "lz4", "zstd"])
async def test_a_handle_compresses_and_reads(method: Any) -> None:
    handle = Handle(RegionConfig(name="orders", compression=method))
    value = {"quotes": [1.5] * 1_000}
    for key in ("a", "k" * 600):
        await handle.set(key, value)
        assert await handle.get(key) == value
    flags = {HEADER.unpack_from(record)[6] & Flag.COMPRESSED for record in handle._desk.replica.records.values()}
    assert flags == {0 if method == "none" else Flag.COMPRESSED}
    records = handle._desk.replica.records
    for place, record in records.items():
        records[place] = record[:-1]
    for key in ("a", "k" * 600):
        with pytest.raises(CorruptRecordError):
            await handle.get(key)


class Listener:
    """Keeps the answers."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def answer(self, answer: Answer) -> None:
        self.answers.append(answer)


def _damage(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff")


def _cut(path: str) -> None:
    os.truncate(path, 10)


@pytest.mark.parametrize("harm", [_damage, _cut, os.unlink], ids=["damaged", "cut off", "gone"])
def test_a_broken_file_is_its_readers_trouble(tmp_path: Path, harm: Callable[[str], None]) -> None:
    directory = replica_directory(str(tmp_path), "shop", SHARD, 0)
    os.makedirs(directory)
    store = Store.open(directory, cluster="shop", shard=SHARD, seat=0, limit_bytes=8 << 20)
    records = (
        LogRecord(1, 1, RecordKind.PUT, b"\0\0a", b"x" * 9_000),
        LogRecord(2, 1, RecordKind.PUT, b"\0\0b", b"small"),
    )
    store.begin()
    store.perform(Append(records))
    store.perform(Apply(records, undoable=False))
    store.perform(Commit(2, 1, 0, 2))
    store.commit()
    posted: list[Any] = []
    desk = RequestDesk(SHARD, store, posted.append, dict, evicts=True)
    (name,) = os.listdir(os.path.join(directory, "large"))
    harm(os.path.join(directory, "large", name))

    def answer(key: bytes) -> Answer:
        listener = Listener()
        desk.take(listener, Read(7, "orders", 0, [key], 1, 0, 0), 0)
        asked = posted.pop()
        assert isinstance(asked, ReadAt)
        prepared = desk.prepare(Serve(asked.token), horizon_ns=0)
        assert prepared is not None
        return prepared[1]

    broken = answer(b"\0\0a")
    assert isinstance(broken, Failure)
    assert broken.error == "CorruptRecordError"
    whole = answer(b"\0\0b")
    assert isinstance(whole, Found)
    assert whole.records[0] is not None
    store.close()
