"""A walk through a store finds every damage that is planted in it, and none in a store that has been used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest

from daycache_ray.storage import directory as directories
from daycache_ray.storage.state import STATE_KEY, pack_state, unpack_state
from daycache_ray.storage.verify import DAMAGES_MAX, Report, verify
from daycache_ray.words.effects import Append
from daycache_ray.words.errors import StoreFormatError
from daycache_ray.words.records import RecordKind
from tests.unit.storage.conftest import SERVICE, Turns

BIG = bytes(range(256)) * 200
Damaging = Callable[["Open"], None]


class Open:
    """A closed store's environment, open for harm."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        number = directories.generations(directory)[-1]
        path = directories.generation_path(directory, number)
        self.environment = lmdb.open(path, map_size=64 << 20, max_dbs=8)

    def first(self, table: bytes) -> tuple[bytes, bytes]:
        with self.environment.begin() as transaction:
            cursor = transaction.cursor(db=self.environment.open_db(table, txn=transaction, create=False))
            assert cursor.first()
            return cursor.item()

    def last(self, table: bytes) -> tuple[bytes, bytes]:
        with self.environment.begin() as transaction:
            cursor = transaction.cursor(db=self.environment.open_db(table, txn=transaction, create=False))
            assert cursor.last()
            return cursor.item()

    def put(self, table: bytes, key: bytes, value: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.put(key, value, db=self.environment.open_db(table, txn=transaction))

    def delete(self, table: bytes, key: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            assert transaction.delete(key, db=self.environment.open_db(table, txn=transaction))

    def note(self, **fields: Any) -> None:
        with self.environment.begin(write=True) as transaction:
            state = unpack_state(transaction.get(STATE_KEY) or b"")
            transaction.put(STATE_KEY, pack_state(msgspec.structs.replace(state, **fields)))


def used(turns: Turns) -> None:
    """Everything a store can hold: plain, expiring, large and long-keyed entries, removals, uncommitted changes."""
    for number in range(50):
        turns.put(b"k%d" % number, b"v" * number, expires_at_ns=number % 3 * 1_000)
    turns.put(b"big", BIG)
    turns.put(b"long", b"\x03\0keyvalue", flags=8)
    turns.delete(b"k7")
    turns.commit()
    turns.put(b"k8", b"again")
    turns.put(b"big", BIG + b"more")
    turns.delete(b"k9")
    turns.turn(Append((turns.record(RecordKind.PUT, b"strong", b"waits"),)))


def test_a_used_store_is_whole(turns: Turns) -> None:
    used(turns)
    seen: list[tuple[int, int]] = []
    # Its owner may be at work.
    report = verify(turns.directory, lambda done, of: seen.append((done, of)))
    assert report.damages == []
    assert report.is_whole
    assert report.entries_count == turns.store.entries_count == 50
    assert report.undoable_count == 3
    assert report.large_files_count == 2
    assert report.large_bytes == 2 * len(BIG) + 4
    assert seen[-1][0] == seen[-1][1]
    turns.store.close()
    assert verify(turns.directory).is_whole


def lose_a_file(there: Open) -> None:
    name = there.first(b"large")[0].decode()
    os.unlink(os.path.join(there.directory, "large", name))


def shorten_a_file(there: Open) -> None:
    name = there.first(b"large")[0].decode()
    os.truncate(os.path.join(there.directory, "large", name), 1_000)


def change_a_file(there: Open) -> None:
    path = os.path.join(there.directory, "large", there.first(b"large")[0].decode())
    with open(path, "r+b") as file:
        file.seek(5_000)
        file.write(b"\0\0")


def forge_an_order(there: Open) -> None:
    place, key = there.first(b"order")
    there.put(b"order", place, key + b"x")


def add_an_order(there: Open) -> None:
    there.put(b"order", (1 << 40).to_bytes(8, "big"), SERVICE + b"nobody")


def lose_an_expiry(there: Open) -> None:
    there.delete(b"expiry", there.first(b"expiry")[0])


def add_an_expiry(there: Open) -> None:
    there.put(b"expiry", bytes(16), b"")


def shorten_a_record(there: Open) -> None:
    there.put(b"data", there.first(b"data")[0], b"short")


def forge_an_lsn(there: Open) -> None:
    key, record = there.first(b"data")
    there.put(b"data", key, record[:8] + (1 << 50).to_bytes(8, "little") + record[16:])


def forge_a_slot(there: Open) -> None:
    key, record = there.first(b"data")
    there.put(b"data", b"\xff\xff" + key[2:], record)


def lengthen_a_full_key(there: Open) -> None:
    key = SERVICE + b"long"
    with there.environment.begin() as transaction:
        table = there.environment.open_db(b"data", txn=transaction, create=False)
        record = bytes(transaction.get(key, db=table) or b"")
    there.put(b"data", key, record[:40] + b"\xff\xff" + record[42:])


def lose_a_log_record(there: Open) -> None:
    there.delete(b"log", (20).to_bytes(8, "big"))


def lose_the_log_s_end(there: Open) -> None:
    there.delete(b"log", there.last(b"log")[0])


def scramble_a_log_record(there: Open) -> None:
    there.put(b"log", there.first(b"log")[0], b"x" * 40)


def swap_a_log_record(there: Open) -> None:
    there.put(b"log", there.first(b"log")[0], there.last(b"log")[1])


def forge_a_before_image(there: Open) -> None:
    there.put(b"undo", (3).to_bytes(8, "big"), there.first(b"undo")[1])


def scramble_a_before_image(there: Open) -> None:
    there.put(b"undo", there.first(b"undo")[0], b"\xff\xffx")


def forge_a_count(there: Open) -> None:
    there.put(b"large", there.first(b"large")[0], (9).to_bytes(4, "little"))


def revoke_completeness(there: Open) -> None:
    there.note(is_complete=False)


def scramble_the_state(there: Open) -> None:
    with there.environment.begin(write=True) as transaction:
        transaction.put(STATE_KEY, b"\xc1")


def tear_the_fence(there: Open) -> None:
    path = os.path.join(there.directory, "fence")
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(b"\x01")


def overwrite_the_fence(there: Open) -> None:
    with open(os.path.join(there.directory, "fence"), "r+b") as file:
        file.write(b"x" * 64)


def name_another_generation(there: Open) -> None:
    with open(os.path.join(there.directory, "fence"), "r+b") as file:
        file.seek(7 * 8)
        file.write((1 << 40).to_bytes(8, "little"))


@pytest.mark.parametrize(
    ("damaging", "where", "said"),
    [
        (lose_a_file, "log", "cannot be read: No such file"),
        (shorten_a_file, "log", "has 1000 bytes and should have 51200"),
        (change_a_file, "log", "holds other bytes"),
        (forge_an_order, "data", "eviction queue is not its own"),
        (add_an_order, "state", "places in the eviction queue: 51 found, 50 noted"),
        (lose_an_expiry, "data", "is not listed to expire at 1000"),
        (add_an_expiry, "state", "entries listed to expire"),
        (shorten_a_record, "data", "is no record"),
        (forge_an_lsn, "data", "were never given"),
        (forge_a_slot, "data", "is no record"),
        (lengthen_a_full_key, "data", "full key is longer"),
        (lose_a_log_record, "log 21", "20 should stand there"),
        (lose_the_log_s_end, "state", "records in the log"),
        (scramble_a_log_record, "log", "cannot be read"),
        (swap_a_log_record, "log", "says LSN"),
        (forge_a_before_image, "before-image 3", "is committed or not in the log"),
        (scramble_a_before_image, "before-image", "is no record"),
        (forge_a_count, "large/", "is counted 9 times and meant"),
        (lambda there: there.note(entries_count=7), "state", "entries: 50 found, 7 noted"),
        (lambda there: there.note(used_bytes=7), "state", "used bytes"),
        (lambda there: there.note(large_bytes=7), "state", "bytes of large values"),
        (lambda there: there.note(log_bytes=7), "state", "bytes of the log"),
        (lambda there: there.note(next_order=3), "data", "were never given"),
        (lambda there: there.note(commit_lsn=1 << 40), "state", "do not follow each other"),
        (lambda there: there.note(applied_lsn=1 << 40), "state", "do not follow each other"),
        (revoke_completeness, "generations", "none is complete"),
        (scramble_the_state, "state", "cannot be read"),
        (tear_the_fence, "fence", "died while it wrote"),
        (overwrite_the_fence, "fence", "no fence page of this version"),
        (name_another_generation, "fence", "it names generation"),
    ],
)
def test_a_planted_damage_is_found(turns: Turns, damaging: Damaging, where: str, said: str) -> None:
    used(turns)
    turns.store.close()
    there = Open(turns.directory)
    damaging(there)
    there.environment.close()
    report = verify(turns.directory)
    assert any(one.where.startswith(where) and said in one.said for one in report.damages), report.damages
    assert not report.is_whole


def test_a_report_is_bounded(turns: Turns) -> None:
    for number in range(DAMAGES_MAX + 20):
        turns.put(b"k%d" % number)
    turns.store.close()
    there = Open(turns.directory)
    with there.environment.begin(write=True) as transaction:
        transaction.drop(there.environment.open_db(b"order", txn=transaction), delete=False)
    there.environment.close()
    report = verify(turns.directory)
    assert len(report.damages) == DAMAGES_MAX
    assert report.damages_count > DAMAGES_MAX
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_what_cannot_be_walked_is_an_error(turns: Turns, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no store"):
        verify(str(tmp_path / "nothing"))
    turns.store.close()
    identity = Path(turns.directory) / "identity"
    identity.write_bytes(identity.read_bytes().replace(b'"format":4', b'"format":99'))
    with pytest.raises(StoreFormatError, match="format 99 and this release writes 4: wipe"):
        verify(turns.directory)


def test_a_file_that_is_no_environment_is_a_damage(turns: Turns) -> None:
    turns.put(b"k")
    turns.store.close()
    number = directories.generations(turns.directory)[-1]
    path = os.path.join(directories.generation_path(turns.directory, number), "data.mdb")
    with open(path, "r+b") as file:
        file.write(b"x" * 8192)
    report = verify(turns.directory)
    assert not report.is_whole
