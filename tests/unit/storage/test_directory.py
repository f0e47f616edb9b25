"""Whose store it is, that one process owns it, and what is said when there is no room."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from daycache_ray.storage import directory as directories
from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.store import Store
from daycache_ray.words.errors import (
    ConfigError,
    StoreFormatError,
    StoreFullError,
    StoreInUseError,
    UnavailableError,
)
from daycache_ray.words.types import ShardId
from tests.unit.storage.conftest import LIMIT_BYTES, SERVICE, SHARD, Turns


def reopen_as(turns: Turns, cluster: str = "shop", shard: ShardId = SHARD, seat: int = 0) -> Store:
    return Store.open(turns.directory, cluster=cluster, shard=shard, seat=seat, limit_bytes=LIMIT_BYTES)


def test_only_one_owns_it(turns: Turns, in_another_process: Callable[..., str]) -> None:
    with pytest.raises(StoreInUseError, match="only one may own"):
        reopen_as(turns)
    script = """
import sys
from daycache_ray.storage.directory import OwnerLock
from daycache_ray.words.errors import StoreInUseError
try:
    OwnerLock(sys.argv[1])
except StoreInUseError:
    print("in use")
"""
    assert in_another_process(script, turns.directory) == "in use\n"
    turns.store.close()
    assert in_another_process(script, turns.directory) == ""
    turns.store = reopen_as(turns)


@pytest.mark.parametrize(
    "other", [{"cluster": "another"}, {"shard": ShardId("orders", 4)}, {"shard": ShardId("x", 3)}, {"seat": 1}]
)
def test_a_foreign_store_is_refused(turns: Turns, other: dict[str, object]) -> None:
    turns.store.close()
    with pytest.raises(StoreFormatError, match="belongs to cluster 'shop', orders/3, seat 0"):
        reopen_as(turns, **other)  # type: ignore[arg-type]
    turns.store = reopen_as(turns)


@pytest.mark.parametrize(("text", "message"), [(b"{", "is broken"), (None, "has format 99 and this release writes 4")])
def test_another_format_is_refused(turns: Turns, text: bytes | None, message: str) -> None:
    turns.store.close()
    path = os.path.join(turns.directory, "identity")
    with open(path, "rb") as file:
        written = json.load(file)
    with open(path, "wb") as file:
        file.write(text if text is not None else json.dumps({**written, "format": 99}).encode())
    with pytest.raises(StoreFormatError, match=message):
        reopen_as(turns)
    directories.wipe(turns.directory)
    turns.store = reopen_as(turns)


def test_the_id_of_a_store_outlives_its_owner_but_not_a_wipe(turns: Turns) -> None:
    turns.put(b"k", bytes(10_000))
    former = turns.store.store_id
    assert former > 0
    assert turns.reopen().store_id == former
    generation = turns.store.statistics().generation
    turns.store.close()
    directories.wipe(turns.directory)
    assert sorted(os.listdir(turns.directory)) == ["fence", "owner.lock"]
    turns.store = reopen_as(turns)
    assert turns.store.store_id != former
    assert turns.store.entries_count == turns.last_lsn == 0
    assert turns.store.statistics().generation != generation


def test_a_living_owner_is_not_wiped(turns: Turns) -> None:
    with pytest.raises(StoreInUseError):
        directories.wipe(turns.directory)
    turns.put(b"k")


def test_readers_notice_a_wipe(turns: Turns) -> None:
    turns.put(b"k")
    reader = StoreReader(turns.directory)
    assert reader.get(SERVICE + b"k") is not None
    turns.store.close()
    directories.wipe(turns.directory)
    with pytest.raises(UnavailableError, match="was removed"):
        reader.get(SERVICE + b"k")
    turns.store = reopen_as(turns)
    assert reader.get(SERVICE + b"k") is None
    reader.close()


def test_a_file_system_that_is_too_small_is_refused(tmp_path: object) -> None:
    with pytest.raises(StoreFullError, match=r"docker run --shm-size=\d+m"):
        Store.open(f"{tmp_path}/s", cluster="c", shard=SHARD, seat=0, limit_bytes=1 << 50)
    # The lock is free again.
    Store.open(f"{tmp_path}/s", cluster="c", shard=SHARD, seat=0, limit_bytes=1 << 20).close()


def test_a_socket_path_fits_the_kernel() -> None:
    directory = directories.replica_directory("/dev/shm", "c" * 32, ShardId("r" * 20, 0), 0)
    assert directories.socket_path(directory).endswith("/0/socket")
    with pytest.raises(ConfigError, match="memory_path: .* the kernel allows 107"):
        directories.socket_path(directories.replica_directory("/dev/shm", "c" * 32, ShardId("r" * 48, 1000), 0))


def test_a_forked_child_does_not_keep_the_lock(directory: str, in_another_process: Callable[..., str]) -> None:
    script = """
import os, signal, sys
from daycache_ray.storage.directory import OwnerLock
os.makedirs(sys.argv[1])
ready_read, ready_write = os.pipe()
hold_read, hold_write = os.pipe()
owner = os.fork()
if owner == 0:
    lock = OwnerLock(sys.argv[1])
    if os.fork() == 0:
        os.close(hold_write)
        os.write(ready_write, b"r")
        os.read(hold_read, 1)
        os._exit(0)
    signal.pause()
os.read(ready_read, 1)
os.kill(owner, signal.SIGKILL)
os.waitpid(owner, 0)
OwnerLock(sys.argv[1]).release()
print("free while the child lives")
"""
    assert in_another_process(script, directory) == "free while the child lives\n"


def test_a_store_that_is_no_environment_is_refused(turns: Turns) -> None:
    turns.put(b"k")
    path = turns.store._current.path
    turns.store.close()
    with open(os.path.join(path, "data.mdb"), "r+b") as file:
        file.write(b"x" * 8192)
    with pytest.raises(StoreFormatError, match="wipe the store"):
        reopen_as(turns)
    directories.wipe(turns.directory)
    turns.store = reopen_as(turns)
    assert turns.value(b"k") is None


def test_a_copy_that_broke_off_early_is_removed(turns: Turns) -> None:
    turns.put(b"k")
    number = turns.store.statistics().generation
    broken = os.path.join(turns.directory, f"gen-{number + 1}")
    os.mkdir(broken)
    with open(os.path.join(broken, "data.mdb"), "wb") as file:
        file.write(b"x" * 8192)
    turns.reopen()
    assert turns.value(b"k") == b"value"
    assert not os.path.exists(broken)
