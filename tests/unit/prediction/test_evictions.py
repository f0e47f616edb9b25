"""Which key goes: the policies the prefetch bench judges by, and the probation of keys loaded ahead."""

from __future__ import annotations

import random

import pytest

from daycache_ray.structures.prediction.gdsf import Gdsf
from daycache_ray.structures.prediction.lru import Lru
from daycache_ray.structures.prediction.probation import Probation
from daycache_ray.structures.prediction.sieve import Sieve


@pytest.mark.parametrize("kind", [Lru, Sieve, Gdsf])
def test_every_policy_holds_what_it_says(kind: type[Lru | Sieve | Gdsf]) -> None:
    chance = random.Random(3)
    cache, held = kind(), set()
    for _ in range(3000):
        key = chance.randrange(60)
        assert (key in cache) == (key in held)
        if key in held:
            cache.touch(key)
            continue
        if len(cache) == 20:
            held.remove(cache.evict())
        cache.insert(key, cost_us=chance.randrange(1000))
        held.add(key)
        assert len(cache) == len(held)


@pytest.mark.parametrize("kind", [Lru, Sieve, Gdsf])
def test_what_was_used_again_outlives_what_was_not(kind: type[Lru | Sieve | Gdsf]) -> None:
    cache = kind()
    for key in range(10):
        cache.insert(key, cost_us=5)
    for key in range(5):
        cache.touch(key)
    assert {cache.evict() for _ in range(5)} == set(range(5, 10))


def test_gdsf_keeps_what_was_dear_to_load_but_not_for_ever() -> None:
    cache = Gdsf()
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
