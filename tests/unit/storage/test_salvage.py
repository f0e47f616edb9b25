"""What is read from a dead owner's store, and the proof that it is dead."""

from __future__ import annotations

import os

import pytest

from daycache_ray.storage.fence_page import FencePage
from daycache_ray.storage.salvage import salvage
from daycache_ray.words.effects import FinishCopy, PublishFence, ResetStore
from daycache_ray.words.errors import StoreInUseError
from daycache_ray.words.types import Role
from tests.unit.storage.conftest import Turns


def die(turns: Turns) -> None:
    """Let the lock go as a death does, without revoking anything."""
    turns.store.fence.publish(PublishFence(3, int(Role.PRIMARY), 8, 2**62, 1, 4, 0))
    turns.store._current.close()
    turns.store._lock.release()


def test_a_living_owner_is_left_alone(turns: Turns) -> None:
    turns.put(b"k")
    assert salvage(turns.directory, 0) is None
    turns.put(b"k")


def test_a_dead_owner_is_fenced_and_its_log_read(turns: Turns) -> None:
    turns.epoch = 3
    turns.put(b"a", b"1")
    turns.commit()
    turns.put(b"b", bytes(10_000))
    turns.put(b"c", b"3", strong=True, applied=False)
    turns.delete(b"a")
    die(turns)
    found = salvage(turns.directory, above_lsn=1)
    assert found is not None
    page = FencePage(os.path.join(turns.directory, "fence"))
    fence = page.read()
    assert fence is not None
    assert (fence.lease_until_ns, fence.role) == (0, Role.FENCED)
    page.close()
    assert [record.lsn for record in found.records] == [2, 3, 4]
    assert found.records[0].value == bytes(10_000)
    assert found.records[1].strong
    assert (found.previous_epoch, found.epoch, found.fence_epoch, found.incarnation) == (3, 3, 3, 8)
    assert (found.commit_lsn, found.last_lsn, found.store_id) == (1, 4, turns.store.store_id)
    with pytest.raises(StoreInUseError):
        turns._open()
    found.release()
    found.release()
    turns.store = turns._open()
    assert turns.value(b"c") is None
    assert turns.value(b"b") == bytes(10_000)


@pytest.mark.parametrize(("above_lsn", "lsns", "previous_epoch"), [(4, [], 1), (9, [], -1), (0, [1, 2, 3, 4], 0)])
def test_where_the_logs_do_not_meet(turns: Turns, above_lsn: int, lsns: list[int], previous_epoch: int) -> None:
    for _ in range(4):
        turns.put(b"k")
    die(turns)
    found = salvage(turns.directory, above_lsn)
    assert found is not None
    assert [record.lsn for record in found.records] == lsns
    assert found.previous_epoch == previous_epoch
    found.release()
    turns.store = turns._open()


def test_a_log_that_begins_later_gives_nothing(turns: Turns) -> None:
    turns.turn(ResetStore(), FinishCopy(10, 2, 0))
    turns.put(b"k")
    die(turns)
    found = salvage(turns.directory, 5)
    assert found is not None
    assert (found.records, found.previous_epoch, found.last_lsn) == ((), -1, 11)
    found.release()
    found = salvage(turns.directory, 10)
    assert found is not None
    assert ([record.lsn for record in found.records], found.previous_epoch) == ([11], 2)
    found.release()
    turns.store = turns._open()


def test_an_unfinished_copy_is_not_read(turns: Turns) -> None:
    turns.put(b"k")
    turns.turn(ResetStore())
    turns.store._remove_copy = lambda: None  # type: ignore[method-assign]
    assert turns.store._copy is not None
    turns.store._copy.close()
    die(turns)
    found = salvage(turns.directory, 0)
    assert found is not None
    assert len(found.records) == 1
    found.release()
    turns.store = turns._open()


def test_where_there_is_no_store(tmp_path: object) -> None:
    with pytest.raises(FileNotFoundError):
        salvage(f"{tmp_path}/none", 0)
