"""Eviction policies beside plain lists that do the same slowly."""

from __future__ import annotations

from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from bench.policy_replay import CONTENDERS, WEIGHED, belady_misses, hashes_of, misses_of, next_uses
from daycache_ray.structures.eviction.clock import Clock
from daycache_ray.structures.eviction.lru import Lru
from daycache_ray.structures.eviction.policy import EvictionPolicy
from daycache_ray.structures.eviction.s3fifo import S3Fifo
from daycache_ray.structures.eviction.sieve import Sieve
from daycache_ray.structures.eviction.two_hands import TwoHands
from daycache_ray.structures.eviction.young_share import OLD, YOUNG, YoungShare

KEYS = 12
Steps = list[tuple[int, bool]]
"""Keys asked for, and whether the entry is deleted instead where it is held."""
steps = st.lists(st.tuples(st.integers(0, KEYS - 1), st.sampled_from([False] * 9 + [True])), max_size=200)
room = st.integers(1, 6)


def hash_of(key: int) -> int:
    """As the store hashes: of bytes."""
    return crc32(b"%d" % key)


class PlainList:
    """What the models share: entries oldest first, each [key, mark]."""

    def __init__(self) -> None:
        self.entries: list[list[int]] = []

    def find(self, key: int) -> list[int] | None:
        """Return the entry of a key."""
        return next((entry for entry in self.entries if entry[0] == key), None)


class PlainLru(PlainList):
    def touch(self, key: int) -> None:
        entry = self.find(key)
        assert entry is not None
        self.entries.remove(entry)
        self.entries.append(entry)

    def insert(self, key: int) -> None:
        self.entries.append([key, 0])

    def evict(self) -> int:
        return self.entries.pop(0)[0]

    def remove(self, key: int) -> None:
        self.entries = [entry for entry in self.entries if entry[0] != key]


class PlainClock(PlainLru):
    def touch(self, key: int) -> None:
        entry = self.find(key)
        assert entry is not None
        entry[1] = 1

    def evict(self) -> int:
        while self.entries[0][1]:
            key, _ = self.entries.pop(0)
            self.entries.append([key, 0])
        return self.entries.pop(0)[0]


class PlainSieve(PlainClock):
    """`hand` is the entry that is looked at first, None for the oldest."""

    def __init__(self) -> None:
        super().__init__()
        self.hand: list[int] | None = None

    def after(self, entry: list[int]) -> list[int] | None:
        place = next(at for at, other in enumerate(self.entries) if other is entry)
        return self.entries[place + 1] if place + 1 < len(self.entries) else None

    def evict(self) -> int:
        entry = self.hand or self.entries[0]
        while entry[1]:
            entry[1] = 0
            entry = self.after(entry) or self.entries[0]
        self.hand = self.after(entry)
        super().remove(entry[0])
        return entry[0]

    def remove(self, key: int) -> None:
        entry = self.find(key)
        if entry is self.hand and entry is not None:
            self.hand = self.after(entry)
        super().remove(key)


class PlainTwoHands(PlainSieve):
    """`young` are the keys of the young, which are the newest; the share is asked of the same learner."""

    def __init__(self) -> None:
        super().__init__()
        self.young: list[int] = []
        self.share = YoungShare()
        self.is_full = False

    def after(self, entry: list[int]) -> list[int] | None:
        newer = super().after(entry)
        return None if newer is None or newer[0] in self.young else newer

    def insert(self, key: int) -> None:
        self.entries.append([key, int(self.share.is_trusted(hash_of(key)))])
        if self.is_full:
            self.young.append(key)

    def evict(self) -> int:
        self.is_full = True
        count = len(self.entries)
        while self.young and (len(self.young) >= self.share.ratio * count or len(self.young) == count):
            entry = self.find(self.young.pop(0))
            assert entry is not None
            if not entry[1]:
                self.share.evicted(hash_of(entry[0]), YOUNG, entries_count=count)
                PlainLru.remove(self, entry[0])
                return entry[0]
            entry[1] = 0
        key = super().evict()
        self.share.evicted(hash_of(key), OLD, entries_count=count)
        return key

    def remove(self, key: int) -> None:
        if key in self.young:
            self.young.remove(key)
        super().remove(key)


class PlainS3Fifo(PlainLru):
    """Small queue, main queue, ghost; marks are counts of hits."""

    def __init__(self) -> None:
        super().__init__()
        self.main: list[list[int]] = []
        self.ghost: list[int] = []
        self.is_full = False

    def find(self, key: int) -> list[int] | None:
        return next((entry for entry in self.entries + self.main if entry[0] == key), None)

    def touch(self, key: int) -> None:
        entry = self.find(key)
        assert entry is not None
        entry[1] = min(3, entry[1] + 1)

    def insert(self, key: int) -> None:
        if key in self.ghost:
            self.ghost.remove(key)
            self.main.append([key, 0])
            return
        self.entries.append([key, 0])
        count = len(self.entries) + len(self.main)
        if not self.is_full and len(self.entries) > max(1, 0.1 * count):
            self.main.append(self.entries.pop(0))

    def evict(self) -> int:
        self.is_full = True
        while True:
            count = len(self.entries) + len(self.main)
            if not self.main or (self.entries and len(self.entries) >= 0.1 * count):
                key, hits = self.entries.pop(0)
                if hits >= 2:
                    self.main.append([key, 0])
                    continue
                self.ghost.append(key)
                self.ghost = self.ghost[-int(max(1, 0.9 * count)) :]
                return key
            key, hits = self.main.pop(0)
            if not hits:
                return key
            self.main.append([key, hits - 1])

    def remove(self, key: int) -> None:
        super().remove(key)
        self.main = [entry for entry in self.main if entry[0] != key]


def walk(policy: EvictionPolicy[int], model: PlainLru, taken: Steps, entries: int) -> None:
    """Do the same to both; what is evicted and what is held must agree, and never be too much."""
    for key, is_deleted in taken:
        if model.find(key) is not None:
            assert key in policy
            if is_deleted:
                policy.remove(key)
                model.remove(key)
            else:
                assert policy.touch(key)
                model.touch(key)
        else:
            assert not policy.touch(key)
            if len(policy) == entries:
                gone = policy.evict()
                assert gone == model.evict()
                assert gone not in policy
            policy.insert(key)
            model.insert(key)
        assert len(policy) <= entries
        assert {known for known in range(KEYS) if known in policy} == {
            known for known in range(KEYS) if model.find(known) is not None
        }


@given(steps, room)
def test_lru_is_a_list_in_order_of_use(taken: Steps, entries: int) -> None:
    walk(Lru(), PlainLru(), taken, entries)


@given(steps, room)
def test_clock_is_a_queue_with_a_second_chance(taken: Steps, entries: int) -> None:
    walk(Clock(), PlainClock(), taken, entries)


@given(steps, room)
def test_sieve_is_a_queue_with_a_hand(taken: Steps, entries: int) -> None:
    walk(Sieve(), PlainSieve(), taken, entries)


@given(steps, room)
def test_two_hands_are_a_sieve_behind_a_queue_of_the_young(taken: Steps, entries: int) -> None:
    walk(TwoHands(hash_of=hash_of), PlainTwoHands(), taken, entries)


@given(steps, room)
def test_s3fifo_is_two_queues_and_a_ghost(taken: Steps, entries: int) -> None:
    walk(S3Fifo(), PlainS3Fifo(), taken, entries)


@given(st.lists(st.integers(0, KEYS - 1), max_size=200), room)
def test_nobody_beats_the_clairvoyant(keys: list[int], entries: int) -> None:
    best = belady_misses(keys, next_uses(keys), entries)
    assert len(set(keys)) <= best or best >= 0
    for contender in (*CONTENDERS, *WEIGHED):
        assert misses_of(contender, keys, hashes_of(KEYS), entries) >= best >= len(set(keys[:1]))
