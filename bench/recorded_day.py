"""A recorded trace (Parquet) as a day to replay: `key`, and where there are `ts`, `client`, `service`, `cost_us`.

What a column is missing for is said in `describe`. Nothing of a trace is random or not as far as
anybody knows, so no share of dice is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.trading_day import Access

ORIGIN_US = 25_000
"""What a load takes where the trace has no `cost_us`, before it is scaled."""
COST_RATIO = 0.2
"""Recorded costs are replayed at a fifth, so that a replay of seconds is not all waiting."""
ORIGIN_US_MAX = 60_000
KINDS = "abcdefghijklmnopqrstuvwxyz"
CLIENTS_MAX = 24
REGION = "market_data"


@dataclass(frozen=True)
class RecordedDay:
    """The first requests of a trace, told in `duration_s`."""

    name: str
    duration_s: float
    missing: tuple[str, ...]
    accesses: list[Access] = field(repr=False)

    @property
    def keys(self) -> dict[str, str]:
        """Every key that is asked for, with its kind, in the order of first use."""
        return {access.key: access.kind for access in self.accesses}

    def describe(self) -> str:
        """Return a sentence or two for a report."""
        clients = len({access.client for access in self.accesses})
        without = f"; it has no column {', '.join(self.missing)}" if self.missing else ""
        return (
            f"trace {self.name}: its first {len(self.accesses):,} requests for {len(self.keys):,} keys by {clients} "
            f"clients, told in {self.duration_s:g} s{without}. Which of them are random nobody knows."
        )


def read_day(path: str | Path, *, requests_max: int, duration_s: float) -> RecordedDay:
    """Return the first `requests_max` requests of a trace, spread over `duration_s` as they were recorded.

    Without `ts` (or when it is the row's number) they are evenly spaced; clients beyond 24 share one.

    Raises:
        ValueError: the file has no column `key` or no row.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    names = [name for name in ("key", "ts", "client", "service", "cost_us") if name in file.schema_arrow.names]
    if "key" not in names:
        raise ValueError(f"{path}: a trace needs a column 'key'; this one has {', '.join(file.schema_arrow.names)}")
    batch = next(file.iter_batches(requests_max, columns=names), None)
    if batch is None or batch.num_rows == 0:
        raise ValueError(f"{path}: the trace has no row")
    columns = {name: batch.column(name).to_pylist() for name in names}
    count = batch.num_rows
    times = columns.get("ts", list(range(count)))
    first, last = times[0], max(times[-1], times[0] + 1)
    clients = columns.get("client", [0] * count)
    services = columns.get("service", [0] * count)
    costs = columns.get("cost_us")
    kinds = _kinds([ORIGIN_US] * count if costs is None else costs)
    accesses = []
    for row in range(count):
        kind, origin_us = kinds[ORIGIN_US if costs is None else costs[row]]
        at_s = (times[row] - first) / (last - first) * duration_s
        client, service = int(clients[row]) % CLIENTS_MAX, f"service-{services[row]}"
        key = f"{kind}:{columns['key'][row]}"
        accesses.append(Access(at_s, key, REGION, client, service, kind, origin_us, False, 0.0))
    missing = tuple(name for name in ("ts", "client", "service", "cost_us") if name not in names)
    return RecordedDay(Path(path).stem, duration_s, missing, accesses)


def _kinds(costs_us: list[int]) -> dict[int, tuple[str, int]]:
    """Return for each recorded cost a kind of key and what its origin takes; of more than 26, steps of two."""
    replayed = {cost: min(int(cost * COST_RATIO), ORIGIN_US_MAX) for cost in set(costs_us)}
    if len(set(replayed.values())) > len(KINDS):
        replayed = {cost: 1 << took_us.bit_length() for cost, took_us in replayed.items()}
    letters = dict(zip(sorted(set(replayed.values())), KINDS, strict=False))
    return {cost: (f"trace{letters[took_us]}", took_us) for cost, took_us in replayed.items()}
