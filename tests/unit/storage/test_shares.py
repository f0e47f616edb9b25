"""Accounts, shares and priorities in a store: what survives overwriting, copying, compaction, undoing and reopening."""

from __future__ import annotations

from typing import ClassVar

import pytest

from daycache_ray.storage.sharing import Writer
from daycache_ray.storage.store import Store
from daycache_ray.storage.verify import verify
from daycache_ray.words.effects import FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.records import Priority
from tests.unit.storage.conftest import SERVICE, SHARD, Turns


class SharedTurns(Turns):
    """`svc` is guaranteed 600 bytes; what `other` writes belongs to everybody."""

    shares: ClassVar[dict[bytes, int]] = {b"svc": 600}

    def _open(self) -> Store:
        return Store.open(
            self.directory, cluster="shop", shard=SHARD, seat=0, limit_bytes=self.limit_bytes, shares=self.shares
        )


@pytest.fixture
def shared(directory: str) -> SharedTurns:
    return SharedTurns(directory)


def names(turns: Turns, needed: int, service: bytes = b"other") -> list[bytes]:
    return [key.removeprefix(SERVICE) for key, _, _ in turns.store.victims(needed, 100, Writer(service, needed))]


def test_a_share_is_kept_and_what_is_beyond_goes(shared: SharedTurns) -> None:
    for number in range(3):
        shared.put(b"k%d" % number)
    assert names(shared, 1) == [], "three entries of some 165 bytes are within the share"
    for number in range(3, 6):
        shared.put(b"k%d" % number)
    gone = names(shared, 1 << 20)
    assert gone == [b"k0", b"k1"]
    used = shared.store._active.state.used_of(1)
    assert used == shared.store.used_bytes
    assert shared.store.reserved_bytes(b"other") == 0
    assert shared.store._active.state.used_of(0) == 0
    shared.store.close()


def test_what_is_guaranteed_and_not_used_is_reserved(shared: SharedTurns) -> None:
    shared.put(b"k")
    assert shared.store.reserved_bytes(b"other") == 600 - shared.store.used_bytes
    assert shared.store.reserved_bytes(b"svc") == 0
    shared.store.close()


def test_low_goes_first_and_high_last(turns: Turns) -> None:
    turns.put(b"normal")
    turns.put(b"high", priority=Priority.HIGH)
    turns.put(b"low", priority=Priority.LOW)
    turns.store.visited.touch(SERVICE + b"low")
    assert names(turns, 1) == [b"low"], "though it was asked for"
    for number in range(40):
        turns.put(b"h%d" % number, priority=Priority.HIGH)
        turns.put(b"n%d" % number)
    gone = names(turns, 40 * 160)
    high = [name for name in gone if name.startswith(b"h")]
    assert 0 < len(high) < len(gone) / 3, "high ones go too, but later"


def test_a_new_priority_moves_an_entry(turns: Turns) -> None:
    turns.put(b"a", priority=Priority.LOW)
    turns.put(b"b")
    turns.put(b"a")
    turns.put(b"b", priority=Priority.LOW)
    assert turns.header(b"b").reserved == Priority.LOW
    assert turns.store._active.state.count_of(1) == 1
    assert turns.store._active.state.count_of(0) == 1
    turns.turn(Truncate(turns.last_lsn - 1))
    assert turns.store._active.state.queues == {}
    assert verify(turns.directory).is_whole


def test_priorities_and_accounts_survive_everything(shared: SharedTurns) -> None:
    shared.put(b"low", priority=Priority.LOW)
    shared.put(b"high", priority=Priority.HIGH)
    shared.commit()
    books = dict(shared.store._active.state.queues)
    assert set(books) == {2, 3}
    while shared.store.compact():
        pass
    assert shared.store._active.state.queues == books
    shared.put(b"later")
    assert shared.store._active.state.count_of(2) == 2
    shared.reopen()
    assert shared.header(b"low").reserved == Priority.LOW
    snapshot = shared.store.open_snapshot()
    items = snapshot.next_items(1 << 20)
    snapshot.close()
    shared.turn(ResetStore(), LoadItems(items), FinishCopy(shared.last_lsn, 1, 0))
    assert shared.header(b"high").reserved == Priority.HIGH
    assert shared.store._active.state.count_of(3) == 1
    assert verify(shared.directory).is_whole
    shared.store.close()


def test_a_service_that_gets_a_share_later_takes_its_entries_along(directory: str) -> None:
    turns = Turns(directory)
    turns.put(b"k")
    turns.store.close()
    shared = SharedTurns(directory)
    assert shared.store._active.state.used_of(1) == 0
    shared.put(b"k", b"anew!")
    assert shared.store._active.state.used_of(1) == shared.store.used_bytes
    assert verify(directory).is_whole
    shared.store.close()


def test_verify_sees_wrong_books(shared: SharedTurns) -> None:
    shared.put(b"k")
    shared.store._active.state.queues[2] = (1, 1)
    shared.put(b"x")
    said = [damage.said for damage in verify(shared.directory).damages]
    assert any("eviction queue 2" in text or "bytes" in text for text in said), said
    shared.store.close()
