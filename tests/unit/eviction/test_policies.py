"""Which key goes: what all policies promise, and what each is for."""

from __future__ import annotations

import random
from collections.abc import Callable
from zlib import crc32

import pytest

from daycache_ray.structures.eviction.arc import Arc
from daycache_ray.structures.eviction.clock import Clock
from daycache_ray.structures.eviction.gdsf import Gdsf
from daycache_ray.structures.eviction.ghosts import Ghosts
from daycache_ray.structures.eviction.lru import Lru
from daycache_ray.structures.eviction.marks import SharedMarks
from daycache_ray.structures.eviction.policy import EvictionPolicy
from daycache_ray.structures.eviction.s3fifo import S3Fifo
from daycache_ray.structures.eviction.sieve import Sieve
from daycache_ray.structures.eviction.two_hands import TwoHands
from daycache_ray.structures.eviction.wtinylfu import FrequencySketch, WTinyLfu
from daycache_ray.structures.eviction.young_share import LEAST, MOST, OLD, START, YOUNG, YoungShare
from daycache_ray.structures.prediction.probation import Probation

Make = Callable[[], EvictionPolicy[int]]


def hash_of(key: int) -> int:
    """As the store hashes: of bytes."""
    return crc32(b"%d" % key)


POLICIES: dict[str, Make] = {
    "lru": Lru,
    "clock": Clock,
    "sieve": Sieve,
    "s3fifo": S3Fifo,
    "arc": Arc,
    "gdsf": Gdsf,
    "wtinylfu": lambda: WTinyLfu(hash_of=hash_of, keys_expected=20),
    "two_hands": lambda: TwoHands(hash_of=hash_of),
    "two_hands_shared": lambda: TwoHands(hash_of=hash_of, marks=SharedMarks(hash_of=hash_of, buckets=8)),
}


def misses(make: Make, keys: list[int], entries: int) -> int:
    """Replay `keys` through a cache of so many entries."""
    policy, count = make(), 0
    for key in keys:
        if policy.touch(key):
            continue
        count += 1
        if len(policy) == entries:
            policy.evict()
        policy.insert(key)
    return count


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_every_policy_holds_what_it_says(make: Make) -> None:
    chance = random.Random(3)
    policy, held = make(), set()
    for _ in range(6000):
        key = chance.randrange(60)
        assert (key in policy) == (key in held)
        if key in held and chance.random() < 0.05:
            policy.remove(key)
            held.remove(key)
        elif policy.touch(key):
            assert key in held
        else:
            assert key not in held
            if len(policy) == 20:
                held.remove(policy.evict())
            policy.insert(key, size_bytes=chance.randrange(1, 50), cost_us=chance.randrange(1000))
            held.add(key)
        assert len(policy) == len(held)
    while len(policy):
        held.remove(policy.evict())
    assert not held


@pytest.mark.parametrize("name", ["lru", "clock", "sieve", "gdsf", "two_hands"])
def test_what_was_used_again_outlives_what_was_not(name: str) -> None:
    policy = POLICIES[name]()
    for key in range(10):
        policy.insert(key)
    for key in range(5):
        policy.touch(key)
    assert {policy.evict() for _ in range(5)} == set(range(5, 10))


@pytest.mark.parametrize("name", ["s3fifo", "wtinylfu", "two_hands"])
def test_a_scan_does_not_wash_out_what_is_asked_for_again(name: str) -> None:
    chance = random.Random(5)
    keys: list[int] = []
    for turn in range(200):
        keys += [min(int(chance.paretovariate(0.8)), 500) for _ in range(100)]
        keys += range(1_000 + 40 * turn, 1_040 + 40 * turn)
    assert misses(POLICIES[name], keys, 100) < 0.9 * misses(Lru, keys, 100)


@pytest.mark.parametrize("name", ["s3fifo", "wtinylfu", "two_hands"])
def test_a_loop_much_larger_than_the_cache_is_kept_in_part(name: str) -> None:
    keys = list(range(300)) * 12
    assert misses(Lru, keys, 100) == len(keys), "LRU always evicts the next one"
    assert misses(POLICIES[name], keys, 100) < 0.95 * len(keys)


def test_two_hands_give_the_young_what_recency_needs() -> None:
    # Every key is asked for twice, a little apart, and never again: only a long youth catches the second time.
    keys = [key for start in range(3_000) for key in (start + 30, start)]
    assert misses(POLICIES["two_hands"], keys, 100) < 0.8 * misses(S3Fifo, keys, 100)


def test_the_share_of_the_young_follows_the_votes_and_has_bounds() -> None:
    young = YoungShare()
    assert young.ratio == START
    for side, bound in ((YOUNG, MOST), (OLD, LEAST)):
        for number in range(500):
            young.evicted(hash_of(number), side, entries_count=1_000)
            assert young.is_trusted(hash_of(number))
            assert LEAST <= young.ratio <= MOST
        assert young.ratio == bound


def test_a_key_that_comes_back_late_is_trusted_but_does_not_ask_for_a_longer_youth() -> None:
    young = YoungShare()
    young.evicted(hash_of(-1), YOUNG, entries_count=1_000)
    for number in range(200):
        young.evicted(hash_of(number), YOUNG, entries_count=1_000)
    assert young.is_trusted(hash_of(-1))
    assert young.ratio == START


def test_ghosts_remember_most_of_what_is_within_reach_and_nothing_beyond() -> None:
    ghosts = Ghosts(entries_count=2_000)
    for number in range(20_000):
        ghosts.note(hash_of(number), number & 1)
    recent = [ghosts.take(hash_of(number)) for number in range(17_000, 20_000)]
    assert sum(found is not None for found in recent) > 0.8 * len(recent)
    right = [found is not None and found[0] == number & 1 for number, found in enumerate(recent, 17_000)]
    assert sum(right) > 0.79 * len(recent)
    assert sum(ghosts.take(hash_of(number)) is not None for number in range(10_000)) < 20
    assert sum(ghosts.take(hash_of(number)) is not None for number in range(50_000, 60_000)) < 20


def test_ghosts_cost_at_most_seven_bytes_an_entry() -> None:
    ghosts = Ghosts(entries_count=100_000)
    assert 4 * len(ghosts._marks) <= 7 * 100_000


def test_gdsf_keeps_what_was_dear_to_load_but_not_for_ever() -> None:
    cache: Gdsf[int] = Gdsf()
    cache.insert(0, cost_us=1000)
    for key in range(1, 11):
        cache.insert(key, cost_us=10)
    assert 0 not in {cache.evict() for _ in range(10)}
    gone = []
    for key in range(11, 400):
        cache.insert(key, cost_us=10)
        cache.touch(key)
        gone.append(cache.evict())
    assert 0 in gone, "the age rises until it passes the dear key's priority"


def test_gdsf_gives_up_what_is_large_first() -> None:
    cache: Gdsf[int] = Gdsf()
    for key, size_bytes in enumerate((100, 10_000, 50)):
        cache.insert(key, size_bytes, cost_us=500)
    assert [cache.evict() for _ in range(3)] == [1, 0, 2]


def test_the_sketch_forgets() -> None:
    sketch = FrequencySketch(keys_expected=10)
    for _ in range(12):
        sketch.add(1)
    before = sketch.estimate(1)
    for number in range(100, 188):
        sketch.add(hash_of(number))
    assert before == 12
    assert sketch.estimate(1) < before


def test_probation_is_first_in_first_out_and_gives_up_what_was_used() -> None:
    waiting = Probation(keys_max=3)
    assert [waiting.insert(key) for key in (1, 2, 3)] == [None, None, None]
    assert waiting.take(2)
    assert waiting.insert(4) is None
    assert waiting.insert(5) == 1
    assert 2 not in waiting
    assert len(waiting) == 3
    waiting.renew(3)
    assert waiting.insert(6) == 4, "what was predicted again goes after the others"


def test_two_hands_spare_the_old_that_were_dear_but_not_for_ever() -> None:
    cache: TwoHands[int] = TwoHands(hash_of=hash_of)
    for key in range(200):
        cache.insert(key, cost_us=50_000 if key % 4 == 3 else 100)
    gone = [cache.evict() for _ in range(200)]
    assert sum(key % 4 == 3 for key in gone[:100]) < 15
    assert len(set(gone)) == 200
