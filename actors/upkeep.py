"""What a store needs beside its turns, from its owner's event loop: now and then, and a little at a time."""

from __future__ import annotations

import asyncio

from daycache_ray.storage.store import Store

READERS_CHECK_S = 1.0
"""A dead reader keeps its slot and pins memory until somebody looks; turns look too, when there are any."""


async def keep_up(store: Store) -> None:
    """Look after a store until cancelled."""
    while True:
        await asyncio.sleep(READERS_CHECK_S)
        store.check_readers()
