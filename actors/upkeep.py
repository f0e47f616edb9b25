"""What a store needs beside its turns, from its owner's event loop: now and then, and a little at a time."""

from __future__ import annotations

import asyncio
import time

import structlog

from daycache_ray.actors.cluster_state import is_known
from daycache_ray.storage.leftovers import remove_leftovers
from daycache_ray.storage.store import Store
from daycache_ray.words.errors import StoreFullError

LOOK_S = 1.0
"""A dead reader keeps its slot and pins memory until somebody looks; turns look too, when there are any."""

PAUSE_RATIO = 2.0
"""Turns get twice the time of a compaction's step before the next one."""

PAUSE_MIN_S = 0.001

AGAIN_S = 60.0
"""After a compaction that found no room, or was ended by a copy of another replica."""

_log = structlog.get_logger("daycache.replica")


def remove_left(memory_path: str, host_pid: int) -> None:
    """Remove what clusters that are gone left on this node; `host_pid` is Ray's node process."""
    for left in remove_leftovers(memory_path, is_known, own_host_pid=host_pid):
        _log.info("left behind, removed", path=left.path, size_bytes=left.size_bytes, reason=left.reason)


async def keep_up(store: Store) -> None:
    """Look after a store until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        store.check_readers()
        if store.is_wasteful():
            try:
                await compact(store)
            except StoreFullError as error:
                _log.info("no room to give memory back", reason=str(error))
            if store.is_wasteful():
                await asyncio.sleep(AGAIN_S)


async def compact(store: Store) -> None:
    """Give back the memory of what was removed, in steps of a few milliseconds between turns.

    Raises:
        StoreFullError: there is no room for both generations; the store is as it was.
    """
    before = store.statistics().mapped_bytes
    began_s = time.monotonic()
    while True:
        step_began_s = time.monotonic()
        if not store.compact():
            break
        await asyncio.sleep(max(PAUSE_MIN_S, PAUSE_RATIO * (time.monotonic() - step_began_s)))
    _log.info(
        "store compacted",
        before_bytes=before,
        after_bytes=store.statistics().mapped_bytes,
        took_s=round(time.monotonic() - began_s, 3),
    )
