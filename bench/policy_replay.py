"""A policy on a trace: how many requests missed. The clairvoyant bound beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any
from zlib import crc32

from daycache_ray.storage.visited_page import LIMIT_BYTES_PER_BUCKET
from daycache_ray.structures.eviction.arc import Arc
from daycache_ray.structures.eviction.clock import Clock
from daycache_ray.structures.eviction.gdsf import Gdsf
from daycache_ray.structures.eviction.lru import Lru
from daycache_ray.structures.eviction.marks import SharedMarks
from daycache_ray.structures.eviction.s3fifo import S3Fifo
from daycache_ray.structures.eviction.sieve import Sieve
from daycache_ray.structures.eviction.two_hands import TwoHands
from daycache_ray.structures.eviction.wtinylfu import WTinyLfu

BATCH_RATIO = 0.02
"""A store evicts this part of its budget at once, so that not every write evicts."""


SMALLEST_ENTRY_BYTES = 264
"""What the store counts for a value of 100 bytes."""

HashOf = Callable[[int], int]


def hashes_of(keys_count: int) -> list[int]:
    """Return for each key's number the hash that the store would use."""
    return [crc32(b"key:%d" % number) for number in range(keys_count)]


def shared_marks(entries_count: int, hash_of: HashOf) -> SharedMarks[int]:
    """Return marks with as many buckets as a store of the smallest entries has, without its least size."""
    buckets = entries_count * SMALLEST_ENTRY_BYTES // LIMIT_BYTES_PER_BUCKET
    return SharedMarks(hash_of=hash_of, buckets=1 << (buckets - 1).bit_length())


@dataclass(frozen=True)
class Contender:
    """A policy and how it is fed."""

    name: str
    make: Callable[[int, HashOf], Any]
    """Entries that the cache holds, hashes of keys -> policy."""
    batch_ratio: float = 0.0
    """Part of the cache that is evicted at once; 0: one key."""


CONTENDERS = (
    Contender("LRU", lambda _, __: Lru[int]()),
    Contender("CLOCK", lambda _, __: Clock[int]()),
    Contender("SIEVE", lambda _, __: Sieve[int]()),
    Contender("S3FIFO", lambda _, __: S3Fifo[int]()),
    Contender("ARC", lambda _, __: Arc[int]()),
    Contender("WTinyLFU", lambda count, hash_of: WTinyLfu[int](hash_of=hash_of, keys_expected=count)),
    Contender("two hands", lambda _, hash_of: TwoHands[int](hash_of=hash_of)),
    Contender("SIEVE, as fed", lambda count, hash_of: Sieve[int](shared_marks(count, hash_of)), BATCH_RATIO),
    Contender(
        "two hands, as fed",
        lambda count, hash_of: TwoHands[int](hash_of=hash_of, marks=shared_marks(count, hash_of)),
        BATCH_RATIO,
    ),
)
WEIGHED = (Contender("GDSF", lambda _, __: Gdsf[int]()),)
"""Contenders that only differ from others where sizes or costs do."""


def misses_of(contender: Contender, keys: list[int], hashes: list[int], entries_count: int) -> int:
    """Return how many of the requests miss in a cache of `entries_count` entries of one size."""
    policy = contender.make(entries_count, hashes.__getitem__)
    touch, insert, evict = policy.touch, policy.insert, policy.evict
    batch = max(1, int(entries_count * contender.batch_ratio))
    misses = held = 0
    for key in keys:
        if not touch(key):
            misses += 1
            if held >= entries_count:
                for _ in range(batch):
                    evict()
                held -= batch
            insert(key)
            held += 1
    return misses


@dataclass(frozen=True)
class Weighed:
    """Parts of what was asked for that were not there."""

    requests_ratio: float
    bytes_ratio: float
    cost_ratio: float


def weighed_misses_of(
    contender: Contender,
    keys: list[int],
    hashes: list[int],
    sizes_bytes: list[int],
    costs_us: list[int],
    limit_bytes: int,
) -> Weighed:
    """Return what misses in a cache of `limit_bytes`; an entry above a tenth of that is not admitted."""
    mean_bytes = max(1, sum(sizes_bytes) // len(sizes_bytes))
    policy = contender.make(max(1, limit_bytes // mean_bytes), hashes.__getitem__)
    admitted_bytes = limit_bytes // 10
    batch = int(limit_bytes * contender.batch_ratio)
    held = 0
    misses, missed_bytes, missed_us, asked_bytes, asked_us = 0, 0, 0, 0, 0
    for key in keys:
        size, cost = sizes_bytes[key], costs_us[key]
        asked_bytes += size
        asked_us += cost
        if policy.touch(key):
            continue
        misses += 1
        missed_bytes += size
        missed_us += cost
        if size > admitted_bytes:
            continue
        wanted = limit_bytes - size - (batch if held + size > limit_bytes else 0)
        while held > wanted and len(policy):
            held -= sizes_bytes[policy.evict()]
        policy.insert(key, size, cost)
        held += size
        assert held <= limit_bytes
    return Weighed(misses / len(keys), missed_bytes / asked_bytes, missed_us / asked_us)


def next_uses(keys: list[int]) -> list[int]:
    """Return for each request when its key is asked for next; the length of the list where it never is.

    >>> next_uses([5, 6, 5])
    [2, 3, 3]
    """
    never = len(keys)
    seen: dict[int, int] = {}
    uses = [never] * never
    for at in range(never - 1, -1, -1):
        uses[at] = seen.get(keys[at], never)
        seen[keys[at]] = at
    return uses


def belady_misses(keys: list[int], uses: list[int], entries_count: int) -> int:
    """Return the fewest misses possible: whoever is asked for last goes.

    Source: Belady: A Study of Replacement Algorithms for a Virtual-Storage Computer (1966).

    >>> keys = [1, 2, 3, 1, 2]
    >>> belady_misses(keys, next_uses(keys), 2)
    4
    """
    next_of: dict[int, int] = {}
    latest: list[tuple[int, int]] = []
    misses = 0
    for key, use in zip(keys, uses, strict=True):
        if key not in next_of:
            misses += 1
            if len(next_of) >= entries_count:
                while True:
                    negative, victim = heappop(latest)
                    if next_of.get(victim) == -negative:
                        break
                del next_of[victim]
        next_of[key] = use
        heappush(latest, (-use, key))
    return misses
