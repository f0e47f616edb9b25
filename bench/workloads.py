"""What is measured: basic calls, many callers, growing memory, the three levels. Each beside the peers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.callers import CallerPool
from bench.measure import Case, Sample, Series, interleaved, sample
from bench.peers import Caller, Peer, Peers

KEYS_COUNT = 10_000
VALUE = b"v" * 100
BATCH_COUNT = 100
ARRAY = np.arange(131_072, dtype=np.float64)
"""1 MiB."""
LEVELS = ("strong", "eventual", "weak")
FILL_BATCH_COUNT = 1_000
ACTOR_CALL = "one Ray actor call"


@dataclass(frozen=True)
class Effort:
    """How long a run may take."""

    rounds: int
    duration_s: float
    mixed_s: float
    mixed_rounds: int
    workers: tuple[int, ...]
    entries: tuple[int, ...]
    kills_count: int
    starts_count: int


FULL = Effort(7, 0.25, 1.0, 3, (1, 4, 20), (1_000, 10_000, 100_000), 12, 3)
QUICK = Effort(3, 0.08, 0.5, 1, (1, 4), (1_000, 10_000), 3, 0)


def keys_in_turn(count: int = KEYS_COUNT) -> list[str]:
    """Return all keys once, in an order that neighbours nothing."""
    step = 7_919
    return [f"key:{number * step % count:06d}" for number in range(count)]


def fill(callers: Mapping[str, Caller]) -> None:
    """Write every key and the array into every peer."""
    keys = keys_in_turn()
    for caller in callers.values():
        for first in range(0, len(keys), FILL_BATCH_COUNT):
            caller.set_many(dict.fromkeys(keys[first : first + FILL_BATCH_COUNT], VALUE))
        caller.set_array("array", ARRAY)


def basic(callers: Mapping[str, Caller], peers: Peers, effort: Effort) -> dict[str, dict[str, Series]]:
    """Return operation -> peer -> series, for one caller. Peers must hold the keys (`fill`)."""
    keys = keys_in_turn()
    batches = [keys[first : first + BATCH_COUNT] for first in range(0, len(keys), BATCH_COUNT)]
    batches_of_values = [dict.fromkeys(batch, VALUE) for batch in batches]

    def check(caller: Caller, name: str) -> None:
        if bytes(caller.get(keys[3])) != VALUE or not np.array_equal(caller.get_array("array"), ARRAY):
            raise RuntimeError(f"{name} does not give back what was written; its figures would mean nothing")

    for name, caller in callers.items():
        check(caller, name)

    operations: dict[str, Callable[[Caller], tuple[Callable[[Any], Any], Any]]] = {
        "get 100 B": lambda c: (c.get, keys),
        "set 100 B": lambda c: (lambda key, put=c.set: put(key, VALUE), keys),
        "get_many 100": lambda c: (c.get_many, batches),
        "set_many 100": lambda c: (c.set_many, batches_of_values),
        "get 1 MiB array": lambda c: (c.get_array, ("array",)),
        "set 1 MiB array": lambda c: (lambda key, put=c.set_array: put(key, ARRAY), ("array",)),
    }
    results: dict[str, dict[str, Series]] = {}
    for operation, of in operations.items():
        cases = {name: Case(*of(caller), peers.server_pids(name)) for name, caller in callers.items()}
        results[operation] = interleaved(cases, rounds=effort.rounds, duration_s=effort.duration_s)
    return results


def concurrent(pool: CallerPool, peers: Mapping[str, Peer], effort: Effort) -> dict[str, dict[int, Series]]:
    """Return peer -> number of processes -> series, for a 90/10 mix over zipfian keys."""
    samples: dict[str, dict[int, list[Sample]]] = {name: {count: [] for count in effort.workers} for name in peers}
    for _, count, name in itertools.product(range(effort.mixed_rounds), effort.workers, peers):
        samples[name][count].append(pool.mixed(peers[name], count, effort.mixed_s, KEYS_COUNT, VALUE))
    return {name: {count: Series(tuple(taken)) for count, taken in counts.items()} for name, counts in samples.items()}


def levels(
    region: Any, effort: Effort, server_pids: tuple[int, ...], actor_call: Callable[[str], Any] | None = None
) -> dict[str, Series]:
    """Return "get strong", "set weak" and so on -> series, all in one region with replicas.

    A WEAK set returns when it is in the buffer; its rate includes the time until all are applied.
    `actor_call`, one call of a Ray actor, is measured in the same rounds where it is given.
    """
    keys = keys_in_turn()
    cases: dict[str, Case] = {}
    for level in LEVELS:
        cases[f"get {level}"] = Case(partial(region.get, level=level), keys, server_pids)
        settle = region.flush if level == "weak" else None
        cases[f"set {level}"] = Case(partial(region.set, value=VALUE, level=level), keys, server_pids, settle)
    if actor_call is not None:
        cases[ACTOR_CALL] = Case(actor_call, keys)
    region.set_many(dict.fromkeys(keys, VALUE))
    return interleaved(cases, rounds=effort.rounds, duration_s=effort.duration_s)


def memory(region: Any, effort: Effort, redis_address: str | None) -> list[dict[str, Any]]:
    """Return a row for each number of entries: bytes an entry on one copy, and what a get takes then.

    A last row writes three times the region's budget and says what was evicted and what is used.
    """
    rows: list[dict[str, Any]] = []
    for count in effort.entries:
        region.clear()
        empty_bytes = region.statistics().used_bytes
        keys = [f"memory:{number:07d}" for number in range(count)]
        _write_all(region, keys, VALUE)
        statistics = region.statistics()
        taken = sample(Case(region.get, keys[:: max(1, count // KEYS_COUNT)]), effort.duration_s)
        rows.append(
            {
                "entries": count,
                "kept_entries": statistics.entries_count,
                "bytes_per_entry": round((statistics.used_bytes - empty_bytes) / count, 1),
                "used_bytes": statistics.used_bytes,
                "get_p50_us": round(taken.p50_us, 2),
                "get_p99_us": round(taken.p99_us, 2),
                "redis_bytes_per_entry": _redis_bytes(redis_address, keys),
            }
        )
    region.clear()
    evictions_before = region.statistics().evictions_count
    large = b"e" * 2_048
    count = 3 * region.statistics().limit_bytes // len(large)
    _write_all(region, [f"overflow:{number:07d}" for number in range(count)], large)
    statistics = region.statistics()
    rows.append(
        {
            "entries": count,
            "kept_entries": statistics.entries_count,
            "value_bytes": len(large),
            "evictions": statistics.evictions_count - evictions_before,
            "used_bytes": statistics.used_bytes,
            "limit_bytes": statistics.limit_bytes,
            "keeps_its_limit": statistics.used_bytes <= statistics.limit_bytes,
        }
    )
    region.clear()
    return rows


def _write_all(region: Any, keys: list[str], value: bytes) -> None:
    for first in range(0, len(keys), FILL_BATCH_COUNT):
        region.set_many(dict.fromkeys(keys[first : first + FILL_BATCH_COUNT], value))


def _redis_bytes(address: str | None, keys: list[str]) -> float | None:
    """Return what Redis itself says it uses for one of the same entries, or None without Redis."""
    if address is None:
        return None
    import redis

    host, _, port = address.rpartition(":")
    with redis.Redis(host, int(port), db=1) as client:
        client.flushdb()
        before = client.info("memory")["used_memory"]
        for first in range(0, len(keys), FILL_BATCH_COUNT):
            client.mset(dict.fromkeys(keys[first : first + FILL_BATCH_COUNT], VALUE))
        used = client.info("memory")["used_memory"] - before
        client.flushdb()
    return round(float(used) / len(keys), 1)
