"""Where the values of a day come from: SQL tables that are filled here, and a loader with a latency.

The tables and the queries are real (SQLite in a file, or PostgreSQL by URL). The latency is
**simulated**: a real origin of a trading house computes or is far away, a table on this machine is
neither, so `SlowLoader` waits what the kind of key costs before it asks the table.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.trading_day import KEY_TYPES, Access

OTHER_VALUE_BYTES = 1_024
INSERT_ROWS_COUNT = 500


@dataclass(frozen=True)
class DayOrigin:
    """Filled tables, one per region: `tables[region]` has the columns key and payload."""

    url: str
    tables: dict[str, str]
    rows_count: int
    bytes_count: int

    @property
    def kind(self) -> str:
        """Return the database's name for a report."""
        return "PostgreSQL" if self.url.startswith("postgresql") else "SQLite"


class SlowLoader:
    """A batch loader that waits before it asks another one: the dearest key of the batch decides."""

    def __init__(self, inner: Any, latency_us: Mapping[str, int], wait_s: Callable[[float], None] = time.sleep) -> None:
        self._inner = inner
        self._wait_s = wait_s
        self._latency_us = dict(latency_us)

    def load_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        """Wait the simulated latency, then load from the table."""
        self._wait_s(max(self._latency_us.get(key.partition(":")[0], 0) for key in keys) / 1e6)
        found: Mapping[str, Any] = self._inner.load_many(keys)
        return found


def latencies(accesses: Sequence[Access]) -> dict[str, int]:
    """Return what each kind of key costs at the origin: its dearest access (traces price single keys)."""
    return {kind: max(a.origin_us for a in accesses if a.kind == kind) for kind in {a.kind for a in accesses}}


def loader_for(origin: DayOrigin, region: str, latency_us: Mapping[str, int]) -> SlowLoader:
    """Return the loader of a region's table."""
    from daycache_ray import SqlLoader

    inner = SqlLoader(origin.url, table=origin.tables[region], key_column="key", value_column="payload")
    return SlowLoader(inner, latency_us)


@contextlib.contextmanager
def filled_origin(
    url: str | None, folder: Path, keys: Mapping[str, str], regions: Mapping[str, str], seed: int
) -> Iterator[DayOrigin]:
    """Create and fill one table per region until the block ends, then drop them.

    Args:
        url: as SQLAlchemy takes it; None: a SQLite file in `folder`.
        keys: every key of the day with its kind.
        regions: the region of each kind.
        seed: of the values' bytes, which compress no better than numbers do.
    """
    import sqlalchemy as sql

    url = url or f"sqlite:///{folder / 'origin.sqlite'}"
    engine = sql.create_engine(url)
    metadata = sql.MetaData()
    suffix = f"{random.SystemRandom().randrange(16**6):06x}"
    tables = {
        region: sql.Table(
            f"day_{region}_{suffix}",
            metadata,
            sql.Column("key", sql.String(256), primary_key=True),
            sql.Column("payload", sql.LargeBinary, nullable=False),
        )
        for region in sorted(set(regions.values()))
    }
    rng = random.Random(seed)
    rows: dict[str, list[dict[str, Any]]] = {region: [] for region in tables}
    for key, kind in keys.items():
        known = KEY_TYPES.get(kind)
        size = known.value_bytes if known is not None else OTHER_VALUE_BYTES
        rows[regions[kind]].append({"key": key, "payload": rng.randbytes(size)})
    try:
        metadata.create_all(engine)
        with engine.begin() as connection:
            for region, table in tables.items():
                for first in range(0, len(rows[region]), INSERT_ROWS_COUNT):
                    connection.execute(sql.insert(table), rows[region][first : first + INSERT_ROWS_COUNT])
        yield DayOrigin(
            url,
            {region: table.name for region, table in tables.items()},
            len(keys),
            sum(len(row["payload"]) for of_region in rows.values() for row in of_region),
        )
    finally:
        metadata.drop_all(engine)
        engine.dispose()
