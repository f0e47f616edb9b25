"""The two hands in a store: who is young, who is trusted, and that they do what the structure of that name does."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from daycache_ray.storage.store import Store
from daycache_ray.structures.eviction.lru import Lru
from daycache_ray.structures.eviction.marks import SharedMarks
from daycache_ray.structures.eviction.sieve import Sieve
from daycache_ray.structures.eviction.two_hands import TwoHands
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.effects import Truncate
from daycache_ray.words.types import ShardId
from tests.unit.storage.conftest import SERVICE, Turns


def evict_one(turns: Turns) -> bytes:
    """Evict what the store proposes first, and return its name."""
    ((key, epoch, lsn),) = turns.store.victims(1, 1)
    turns.evict(key, epoch, lsn)
    return key.removeprefix(SERVICE)


def filled_and_evicted(turns: Turns, count: int) -> None:
    """Fill the store and evict once: from now on who comes is young."""
    for number in range(count):
        turns.put(b"old%d" % number)
    assert evict_one(turns) == b"old0"


def test_who_is_not_used_while_young_goes_before_the_old(turns: Turns) -> None:
    filled_and_evicted(turns, 5)
    for name in (b"a", b"b", b"c", b"d", b"e", b"f"):
        turns.put(name)
    turns.store.visited.touch(SERVICE + b"a")
    # Six of ten are young, more than half: a was used and is old now, where it stands. After b, four of nine are.
    assert evict_one(turns) == b"b"
    assert evict_one(turns) == b"old1"


def test_who_comes_back_is_trusted(turns: Turns) -> None:
    filled_and_evicted(turns, 3)
    turns.put(b"old0")
    assert turns.store.visited.take(SERVICE + b"old0")
    turns.put(b"new")
    assert not turns.store.visited.take(SERVICE + b"new")


def test_in_an_overwritten_or_deleted_entry_nobody_is_counted_twice(turns: Turns) -> None:
    filled_and_evicted(turns, 5)
    hands = turns.store._active.entries.queues.hands(0)
    turns.put(b"a")
    turns.put(b"a", b"again")
    turns.put(b"b")
    assert hands._young_count == 2
    turns.commit()
    turns.delete(b"b")
    assert hands._young_count == 1
    turns.turn(Truncate(turns.last_lsn - 1))
    assert hands._young_count == 2
    turns.delete(b"old1")
    assert hands._young_count == 2


def test_a_wrong_count_of_the_young_puts_itself_right(turns: Turns) -> None:
    filled_and_evicted(turns, 4)
    turns.put(b"a")
    turns.store._active.entries.queues.hands(0)._young_count = 50
    gone = {evict_one(turns) for _ in range(4)}
    assert gone == {b"a", b"old1", b"old2", b"old3"}
    assert turns.store.victims(1, 1) == []
    turns.put(b"b")
    turns.store._active.entries.queues.hands(0)._young_count = 0
    assert evict_one(turns) == b"b"


def test_after_a_restart_nobody_is_young(turns: Turns) -> None:
    filled_and_evicted(turns, 4)
    turns.put(b"a")
    turns.store.visited.touch(SERVICE + b"a")
    turns.reopen()
    assert [evict_one(turns) for _ in range(4)] == [b"old1", b"old2", b"old3", b"a"]


def keys_asked_for() -> list[bytes]:
    """A few popular keys, and scans that nobody asks for again."""
    chance, keys = random.Random(11), []
    for turn in range(50):
        keys += [b"p%d" % min(int(chance.paretovariate(0.9)), 300) for _ in range(30)]
        keys += [b"s%d" % (turn * 20 + number) for number in range(20)]
    return keys


def misses_of_store(turns: Turns, entries_max: int) -> int:
    """Ask a store for the keys, put those that it lacks, and count them."""
    count = 0
    for name in keys_asked_for():
        if turns.store.get(SERVICE + name) is not None:
            turns.store.visited.touch(SERVICE + name)
            continue
        count += 1
        if turns.store.entries_count == entries_max:
            evict_one(turns)
        turns.put(name)
    return count


def misses_of_structure(policy: TwoHands[bytes] | Sieve[bytes] | Lru[bytes], entries_max: int) -> int:
    """The same with a structure."""
    count = 0
    for name in keys_asked_for():
        if policy.touch(name):
            continue
        count += 1
        if len(policy) == entries_max:
            policy.evict()
        policy.insert(name)
    return count


def test_a_store_misses_as_often_as_the_structures(directory: str) -> None:
    def hash_of(name: bytes) -> int:
        return crc32(SERVICE + name)

    def marks() -> SharedMarks[bytes]:
        return SharedMarks(hash_of=hash_of, buckets=1 << 17)

    makes: dict[str, Callable[[], TwoHands[bytes] | Sieve[bytes]]] = {
        "two_hands": lambda: TwoHands(hash_of=hash_of, marks=marks()),
        "sieve": lambda: Sieve(marks()),
    }
    found = {}
    for eviction, make in makes.items():
        turns = Turns(f"{directory}-{eviction}", eviction=eviction)
        found[eviction] = misses_of_store(turns, 50)
        turns.store.close()
        assert found[eviction] == pytest.approx(misses_of_structure(make(), 50), rel=0.02)
    assert found["two_hands"] < misses_of_structure(Lru(), 50)


def test_a_region_names_its_eviction(tmp_path: Path) -> None:
    assert RegionConfig(name="a").eviction == "two_hands"
    with pytest.raises(ValueError, match="two_hands"):
        RegionConfig(name="a", eviction="lfu")  # type: ignore[arg-type]
    store = Store.open(
        f"{tmp_path}/s", cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=1 << 20, eviction="sieve"
    )
    store.victims(1, 1)
    assert store._active.entries.queues.hands(0)._young_from is None
    store.close()


def test_what_was_dear_to_load_stays_longer(turns: Turns) -> None:
    for number in range(200):
        turns.put(b"k%d" % number, cost_us=50_000 if number % 4 == 3 else 100)
    gone = []
    for _ in range(100):
        ((key, epoch, lsn),) = turns.store.victims(1, 1)
        gone.append(int(key.removeprefix(SERVICE + b"k")))
        turns.evict(key, epoch, lsn)
    assert sum(number % 4 == 3 for number in gone) < 15, "a quarter of all, and less of those that went"
    rest = {key for key, _, _ in turns.store.victims(1 << 30, 100)}
    assert len(rest) == 100, "but nobody stays for ever"
