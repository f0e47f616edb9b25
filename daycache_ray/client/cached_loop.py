"""A plain region for coroutines, as the functions of `cached` need it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from daycache_ray.words.types import Key

if TYPE_CHECKING:
    from daycache_ray.client.region import Region


class RegionFromLoop:
    """A plain region for coroutines: hits are answered where they are, the rest by a thread that waits for it."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self.name = region.name
        self.config = region.config
        self.near_value = region.near_value

    async def get_or_load(self, key: Key, loader: Callable[[str], Awaitable[Any]], **options: Any) -> Any:
        """See Region.get_or_load; the loader runs on this loop."""
        loop = asyncio.get_running_loop()

        def load(text: str) -> Any:
            return asyncio.run_coroutine_threadsafe(cast(Any, loader(text)), loop).result()

        return await asyncio.to_thread(self._region.get_or_load, key, load, **options)

    async def delete(self, key: Key) -> bool:
        """See Region.delete."""
        return await asyncio.to_thread(self._region.delete, key)

    async def set(self, key: Key, value: Any, **options: Any) -> Any:
        """See Region.set."""
        return await asyncio.to_thread(self._region.set, key, value, **options)
