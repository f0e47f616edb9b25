"""Removing what invalidated tags hide, behind everybody's back and a little at a time: the primary's shell does it.

An invalidation hides its entries at once and takes nothing away; this gives their memory back, and lets the rows go
that hide nothing any more. Until an entry is gone eviction may take it, or a write may replace it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from daycache_ray.protocol.replica import ShardReplica
from daycache_ray.storage.store import Store
from daycache_ray.storage.tags import TagSweep, has_rows
from daycache_ray.words.messages import Evict
from daycache_ray.words.removals import INVALIDATED
from daycache_ray.words.types import Role

LOOK_S: Final = 0.25
STEP_RECORDS: Final = 500
"""Records of one step: half a millisecond where nothing is found, as many removals in one turn at most."""

PAUSE_RATIO: Final = 3.0
"""Turns get so many times the time of a step before the next one."""

PAUSE_MIN_S: Final = 0.002
AGAIN_S: Final = 2.0
"""After a walk that found nothing to remove: what is over stays while it may be served stale."""


async def sweep_tags(store: Store, machine: ShardReplica, post: Callable[[Any], None], kept_ns: int) -> None:
    """Remove what is hidden until cancelled; what is over stays for `kept_ns`."""
    sweep = TagSweep()
    term = 0
    while True:
        await asyncio.sleep(LOOK_S)
        if machine.role != Role.PRIMARY or not store.ask(lambda reading, entries: has_rows(reading, entries.data)):
            continue
        if machine.epoch != term:
            sweep, term = TagSweep(), machine.epoch
        if not await _walk(store, machine, post, sweep, kept_ns):
            await asyncio.sleep(AGAIN_S)


async def _walk(
    store: Store, machine: ShardReplica, post: Callable[[Any], None], sweep: TagSweep, kept_ns: int
) -> bool:
    """Go through all records once; return whether something was proposed."""
    has_found = False
    while machine.role == Role.PRIMARY:
        began_s = time.monotonic()
        settled_lsn, over_ns = machine.held_lsn, time.time_ns() - kept_ns

        def look(reading: Any, entries: Any, lsn: int = settled_lsn, over: int = over_ns) -> Any:
            return sweep.step(reading, entries.data, entries.tags, lsn, over, STEP_RECORDS)

        items, has_more = store.ask(look)
        if items:
            has_found = True
            post(Evict(tuple(items), INVALIDATED))
        if not has_more:
            break
        await asyncio.sleep(max(PAUSE_MIN_S, PAUSE_RATIO * (time.monotonic() - began_s)))
    return has_found
