"""Access traces as plain lists: what was asked for, when, by whom, and what it costs to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

UNTIMED_COST_US = 1000
"""What a load counts as where the trace does not say: one millisecond."""


@dataclass(frozen=True)
class Trace:
    """`timed` says whether `ts_us` and `cost_us` are real; otherwise loads finish at once."""

    name: str
    keys: list[int]
    ts_us: list[int]
    clients: list[int]
    services: list[int]
    cost_us: list[int]
    timed: bool
    type_shift: int
    distinct_count: int

    @classmethod
    def read(cls, path: Path, *, requests_max: int | None = None, type_shift: int | None = None) -> Trace:
        """Read a Parquet file with a column `key` and perhaps `ts`, `client`, `service`, `type`, `cost_us`.

        `type_shift` is the bit of the key at which its type begins; None works it out.
        """
        table = pq.read_table(path)
        if requests_max is not None:
            table = table.slice(0, requests_max)
        if "key" not in table.column_names:
            raise SystemExit(f"{path}: has no column `key`; its columns are {', '.join(table.column_names)}")
        if table.num_rows < 2:
            raise SystemExit(f"{path}: has {table.num_rows} requests; two are the least")
        columns = {name: table[name].to_numpy() for name in table.column_names}
        keys = columns["key"].astype(np.uint64)
        count = len(keys)
        zeros = np.zeros(count, dtype=np.int64)
        ts = columns.get("ts", np.arange(count)).astype(np.int64)
        costs = columns.get("cost_us")
        # an index instead of a time counts up by one; then a cost in microseconds means nothing
        timed = costs is not None and int(ts[-1] - ts[0]) > 2 * count
        if costs is None:
            costs = np.full(count, UNTIMED_COST_US)
        types = columns.get("type")
        if type_shift is None:
            type_shift = guess_type_shift(keys, types)
        return cls(
            name=path.stem,
            keys=keys.tolist(),
            ts_us=ts.tolist(),
            clients=columns.get("client", zeros).astype(np.int64).tolist(),
            services=columns.get("service", zeros).astype(np.int64).tolist(),
            cost_us=costs.astype(np.int64).tolist(),
            timed=timed,
            type_shift=type_shift,
            distinct_count=len(np.unique(keys)),
        )


def guess_type_shift(keys: np.ndarray, types: np.ndarray | None) -> int:
    """Return the bit at which a key's type begins: from the first rows' types, or from the keys' width.

    Without types, keys beyond 24 bits are taken to have their type in the top 8 of 32 bits, or above
    bit 40; narrower ones are block numbers of one type.
    """
    head = keys[:20_000]
    if types is not None:
        named = types[:20_000].astype(np.uint64)
        kinds = len(np.unique(named))
        for shift in range(62, 0, -1):
            cut = head >> np.uint64(shift)
            pairs = len(np.unique(cut * np.uint64(256) + named % np.uint64(256)))
            if len(np.unique(cut)) == kinds == pairs:
                return shift
    width = int(np.percentile(head, 95)).bit_length()
    return 24 if width <= 32 else 40
