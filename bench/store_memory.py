"""What a store's entries cost in memory: by table, in the file and in the owner's heap, before and after a compaction.

    python -m bench.store_memory --entries 200000 --value-bytes 100
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from pathlib import Path

from daycache_ray.storage.store import Store
from daycache_ray.words.effects import Append, Apply, Commit
from daycache_ray.words.limits import SLOT_COUNT
from daycache_ray.words.records import LogRecord
from daycache_ray.words.types import ShardId

BATCH = 200
PAGE_BYTES = 4096


def resident_bytes() -> int:
    """Return this process's own memory, what it shares with others not counted."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def tables(store: Store) -> dict[str, int]:
    """Return the bytes of pages by table."""
    generation = store._current
    named = {
        "data": generation.data,
        "order": generation.entries.order,
        "expiry": generation.entries.expiry,
        "log": generation.log.log,
    }
    with generation.environment.begin() as reading:
        found = {}
        for name, table in named.items():
            about = reading.stat(table)
            pages = about["branch_pages"] + about["leaf_pages"] + about["overflow_pages"]
            found[name] = pages * PAGE_BYTES
    return found


def fill(store: Store, entries: int, value_bytes: int) -> None:
    """Put entries of random keys, as a hash spreads them, `BATCH` a turn."""
    chance = random.Random(1)
    lsn = 0
    for start in range(0, entries, BATCH):
        records = []
        for number in range(start, start + BATCH):
            lsn += 1
            key = chance.randrange(SLOT_COUNT).to_bytes(2, "big") + b"\x01s%012d" % number
            records.append(LogRecord(lsn, 1, 1, key, bytes(value_bytes)))
        store.begin()
        store.perform(Append(tuple(records)))
        store.perform(Apply(tuple(records), undoable=False))
        store.perform(Commit(lsn, 1, 0, lsn))
        store.commit()


def show(store: Store, entries: int, payload: int, heap: int) -> None:
    """Print a line by table, per entry."""
    found = tables(store)
    cost = (found["data"] + found["order"] + found["expiry"]) / entries
    line = ", ".join(f"{name} {size / entries:.1f}" for name, size in found.items())
    mapped = store.statistics().mapped_bytes / entries
    print(f"  bytes an entry: {line}; file {mapped:.1f}; heap {heap / entries:.1f}")
    print(f"  over key and value: {cost - payload:.1f}")


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--entries", type=int, default=200_000)
    asked.add_argument("--value-bytes", type=int, default=100)
    options = asked.parse_args()
    folder = tempfile.mkdtemp(prefix="daycache-bench-", dir="/dev/shm")
    try:
        limit_bytes = options.entries * (options.value_bytes + 400) + (64 << 20)
        store = Store.open(f"{folder}/s", cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=limit_bytes)
        before = resident_bytes()
        fill(store, options.entries, options.value_bytes)
        payload = options.value_bytes + 16
        accounted = store.used_bytes / options.entries
        print(f"{options.entries} entries of {payload} B key and value, accounted {accounted:.0f} B each")
        show(store, options.entries, payload, resident_bytes() - before)
        while store.compact():
            pass
        print("after a compaction")
        show(store, options.entries, payload, resident_bytes() - before)
        store.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
