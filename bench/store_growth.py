"""How a get and a set of one store grow with the number of its keys: p50 from 1 000 keys to `--entries`.

    python -m bench.store_growth --entries 300000
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable

from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.store import Store
from daycache_ray.words.effects import Append, Apply, Commit
from daycache_ray.words.limits import SLOT_COUNT
from daycache_ray.words.records import LogRecord
from daycache_ray.words.types import ShardId

BATCH = 200
ROUNDS = 5_000
SPARE_BYTES = 256 << 20


def key_of(number: int) -> bytes:
    """Return a store key, in slots as a hash spreads them."""
    return (number * 7_919 % SLOT_COUNT).to_bytes(2, "big") + b"\x01s%012d" % number


def median_us(work: Callable[[int], object], numbers: list[int]) -> float:
    """Return the median time of `work(number)` in microseconds."""
    took = []
    for number in numbers:
        began = time.perf_counter_ns()
        work(number)
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / 1e3


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--entries", type=int, default=300_000)
    entries = asked.parse_args().entries
    needed = entries * 500 + SPARE_BYTES
    free = shutil.disk_usage("/dev/shm").free
    if free < needed:
        raise SystemExit(f"{entries} entries need {needed >> 20} MiB of /dev/shm, and {free >> 20} are free")
    folder = tempfile.mkdtemp(prefix="daycache-bench-", dir="/dev/shm")
    chance = random.Random(1)
    lsn = there = 0
    try:
        store = Store.open(f"{folder}/s", cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=needed)
        reader = StoreReader(f"{folder}/s")

        def put(numbers: list[int]) -> None:
            nonlocal lsn
            records = tuple(LogRecord(lsn + i, 1, 1, key_of(number), bytes(100)) for i, number in enumerate(numbers, 1))
            lsn += len(records)
            store.begin()
            store.perform(Append(records))
            store.perform(Apply(records, undoable=False))
            store.perform(Commit(lsn, 1, 0, lsn))
            store.commit()

        print("     keys   get p50 us   set p50 us")
        for count in [size for size in (1_000, 10_000, 100_000, 1_000_000, 10_000_000) if size < entries] + [entries]:
            while there < count:
                put(list(range(there, min(count, there + BATCH))))
                there = min(count, there + BATCH)
            numbers = [chance.randrange(count) for _ in range(ROUNDS)]
            get_us = median_us(lambda number: reader.get(key_of(number)), numbers)
            set_us = median_us(lambda number: put([number]), numbers)
            print(f"{count:9d}   {get_us:10.2f}   {set_us:10.2f}", flush=True)
        reader.close()
        store.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
