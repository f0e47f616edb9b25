"""A store's counters of one moment. Knows nothing of the replica that owns it."""

from __future__ import annotations

from typing import NamedTuple

from daycache_ray.storage.generation import Generation
from daycache_ray.storage.reader_lag import reader_lag
from daycache_ray.storage.space import PAGE_BYTES


class StoreStatistics(NamedTuple):
    """A store at one moment; byte counts are of this replica alone."""

    entries_count: int
    used_bytes: int
    limit_bytes: int
    large_bytes: int
    log_records_count: int
    log_bytes: int
    undoable_count: int
    generation: int
    mapped_bytes: int
    """What LMDB's file occupies up to its highest page, free pages included."""
    readers_count: int
    oldest_reader_pid: int
    """Process of the oldest read transaction that is behind, 0 when none is."""
    oldest_reader_lag: int
    """Turns that were committed since that transaction began."""
    pinned_bytes_max: int
    """What it keeps from being used again, at most."""
    dirty_count: int
    """Entries that the origin has not got, and what they cost."""
    dirty_bytes: int


def statistics_of(generation: Generation, limit_bytes: int) -> StoreStatistics:
    """Return the counters of a generation as they are in the open turn."""
    state = generation.state
    environment = generation.environment
    lag = reader_lag(environment)
    return StoreStatistics(
        entries_count=state.entries_count,
        used_bytes=state.used_bytes,
        limit_bytes=limit_bytes,
        large_bytes=state.large_bytes,
        log_records_count=state.last_lsn - state.base_lsn,
        log_bytes=state.log_bytes,
        undoable_count=len(generation.images),
        generation=generation.number,
        mapped_bytes=(int(environment.info()["last_pgno"]) + 1) * PAGE_BYTES,
        readers_count=lag.readers_count,
        oldest_reader_pid=lag.pid,
        oldest_reader_lag=lag.lag_transactions,
        dirty_count=state.dirty_count,
        dirty_bytes=state.dirty_bytes,
        pinned_bytes_max=generation.pinned_pages_max() * PAGE_BYTES if lag.pid else 0,
    )
