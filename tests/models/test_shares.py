"""Shares and priorities in a store beside plain dictionaries: no eviction takes a service below its share."""

from __future__ import annotations

import tempfile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daycache_ray.storage.costs import cost_bytes
from daycache_ray.storage.sharing import Writer
from daycache_ray.storage.store import Store
from daycache_ray.storage.verify import verify
from daycache_ray.structures.eviction.shares import Promised
from daycache_ray.structures.store_keys import service_prefix, split_store_key, store_key
from daycache_ray.words.effects import Append, Apply
from daycache_ray.words.records import HEADER, LogRecord, Priority, RecordKind
from daycache_ray.words.types import ShardId

SERVICES = [b"a", b"b", b"other", b"another"]
SHARES = {b"a": 3_000, b"b": 6_000}

PUTS = st.tuples(
    st.just("put"), st.sampled_from(SERVICES), st.integers(0, 12), st.integers(1, 1500), st.sampled_from(Priority)
)
FREES = st.tuples(st.just("free"), st.sampled_from(SERVICES), st.integers(1, 9_000), st.integers(1, 40), st.booleans())
VISITS = st.tuples(st.just("visit"), st.sampled_from(SERVICES), st.integers(0, 12), st.just(0), st.just(0))
STEPS = st.lists(st.one_of(PUTS, PUTS, FREES, VISITS), max_size=60)


class Shop:
    """A store with shares, and what its services hold by a plain count."""

    def __init__(self, directory: str, shares: dict[bytes, int], eviction: Any = "two_hands") -> None:
        self.store = Store.open(
            directory, cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=8 << 20, eviction=eviction, shares=shares
        )
        self.lsn = 0
        self.keys: set[bytes] = set()

    def write(self, kind: RecordKind, key: bytes, value: bytes = b"", **fields: Any) -> None:
        self.lsn += 1
        record = LogRecord(self.lsn, 1, int(kind), key, value, **fields)
        self.store.begin()
        self.store.perform(Append((record,)))
        self.store.perform(Apply((record,), False))
        self.store.commit()
        if kind == RecordKind.PUT:
            self.keys.add(key)
        else:
            self.keys.discard(key)

    def cost(self, key: bytes) -> int:
        record = self.store.get(key)
        assert record is not None
        return cost_bytes(key, record)

    def used(self) -> dict[bytes, int]:
        used = dict.fromkeys(SERVICES, 0)
        for key in self.keys:
            used[split_store_key(key)[0]] += self.cost(key)
        return used

    def priority(self, key: bytes) -> int:
        record = self.store.get(key)
        assert record is not None
        return int(HEADER.unpack_from(record)[7])


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from(["two_hands", "sieve"]))
def test_nobody_is_taken_below_its_share(steps: list[Any], eviction: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        shop = Shop(directory, SHARES, eviction)
        try:
            for step, service, first, second, third in steps:
                prefix = service_prefix(service)
                if step == "put":
                    key = store_key(b"k%d" % first, prefix)
                    shop.write(RecordKind.PUT, key, b"v" * second, priority=int(third))
                elif step == "visit":
                    shop.store.visited.touch(store_key(b"k%d" % first, prefix))
                else:
                    free(shop, service, first, second, both_at_once=third)
            report = verify(directory)
            assert report.is_whole, report.damages
        finally:
            shop.store.close()


def free(shop: Shop, service: bytes, needed: int, count_max: int, *, both_at_once: bool) -> None:
    """Ask for room, once or twice before anything goes, and hold what goes against the shares."""
    before = shop.used()
    promised = Promised()
    victims = []
    for _ in range(2 if both_at_once else 1):
        more = shop.store.victims(needed, count_max, Writer(service, needed, promised))
        assert len(more) <= count_max
        victims += more
    keys = [key for key, _, _ in victims]
    assert len(set(keys)) == len(keys), "nobody goes twice"
    freed = sum(shop.cost(key) for key in keys)
    assert freed == promised.total_bytes
    for owner, share in SHARES.items():
        gone = sum(shop.cost(key) for key in keys if split_store_key(key)[0] == owner)
        assert gone == 0 or before[owner] - gone >= share, f"{owner!r} had {before[owner]} and lost {gone}"
    if not both_at_once and freed < needed and len(keys) < count_max:
        # Who is passed by is larger than what its service has beyond its share, or stands behind such entries.
        rest = {owner: size - sum(shop.cost(k) for k in keys if split_store_key(k)[0] == owner)
                for owner, size in before.items()}  # fmt: skip
        assert rest[b"other"] + rest[b"another"] == 0, "without a share nobody is spared"
        for owner, share in SHARES.items():
            smallest = min((shop.cost(k) for k in shop.keys - set(keys) if split_store_key(k)[0] == owner), default=0)
            assert rest[owner] - share < smallest or smallest == 0
    for key in keys:
        owner = split_store_key(key)[0]
        if shop.priority(key) != Priority.LOW and owner not in SHARES:
            low = [k for k in shop.keys - set(keys) if shop.priority(k) == Priority.LOW
                   and split_store_key(k)[0] not in SHARES]  # fmt: skip
            assert not low, "what has low priority goes first"
    for key, epoch, lsn in victims:
        shop.write(RecordKind.EVICT, key, target_epoch=epoch, target_lsn=lsn)


def test_the_test_can_fail(tmp_path: Any) -> None:
    """Without shares the same store evicts everything."""
    shop = Shop(str(tmp_path / "s"), {})
    shop.write(RecordKind.PUT, store_key(b"k", service_prefix(b"a")), b"v")
    assert len(shop.store.victims(1 << 20, 10, Writer(b"other"))) == 1
    shop.store.close()
