"""Removing many entries of a region in one call: by tag, by prefix, all of them; the sync and the async face.

What decides stands in region_writes and region_core; these go through the shards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daycache_ray.client.arguments import tag_bytes
from daycache_ray.client.exchanges import Exchange
from daycache_ray.client.region_core import RegionCore, prefix_bytes
from daycache_ray.words.errors import DeadlineExceededError
from daycache_ray.words.types import Key, Level

if TYPE_CHECKING:
    from daycache_ray.client.async_channels import AsyncChannels
    from daycache_ray.client.channels import Channels


class Invalidation:
    """The calls of `Region` that remove many entries."""

    _core: RegionCore
    _channels: Channels

    def invalidate_tag(
        self, tag: str, *, soft: bool = False, level: Level | None = None, deadline_s: float | None = None
    ) -> int:
        """Hide all entries of this service that have `tag`, and return how many there were.

        It takes the same time however many there are; their memory comes back afterwards. Entries written later are
        not hidden, nor are those whose write this call overtakes in another shard. Entries that have expired and
        wait for their removal count too.

        Args:
            soft: they are over, as if they had expired now: reads miss, and `get_or_load` may still serve them where
                the region's `stale_for_s` allows it while the origin is slow or down.
        """
        return sum(self._channels.run_all(tag_exchanges(self._core, tag, level, deadline_s, soft=soft)).values())

    def invalidate_prefix(self, prefix: Key, *, deadline_s: float | None = None) -> int:
        """Remove the entries of this service whose keys begin with `prefix`, and return how many there were.

        Every key is looked at, in messages of up to 1 000, so where the same entries go again and again give them a
        tag. Entries written meanwhile may go or stay.

        Raises:
            DeadlineExceededError: some are left; what was removed is. The default is 5 s for all of it.
        """
        return self._remove(prefix_bytes(prefix), self._core.deadline_at_s(deadline_s), None)

    def clear(self, *, deadline_s: float | None = None) -> int:
        """Remove all entries of this service, and return how many there were.

        Entries written meanwhile may stay. `deadline_s` is for each message of up to 1 000 keys.
        """
        return self._remove(b"", None, deadline_s)

    def _remove(self, prefix: bytes, until_s: float | None, deadline_s: float | None) -> int:
        removed_count = 0
        for part in self._core.parts():
            cursor = b""
            while True:
                left_s = seconds_left(self._core, until_s, deadline_s, removed_count)
                count, cursor = self._channels.run(self._core.clear_page(part, prefix, cursor, left_s))
                removed_count += count
                if not cursor:
                    break
        self._core.invalidations_count += 1
        return removed_count


class AsyncInvalidation:
    """The calls of `AsyncRegion` that remove many entries."""

    _core: RegionCore
    _channels: AsyncChannels

    async def invalidate_tag(
        self, tag: str, *, soft: bool = False, level: Level | None = None, deadline_s: float | None = None
    ) -> int:
        """See Region.invalidate_tag; shards are asked at the same time."""
        exchanges = tag_exchanges(self._core, tag, level, deadline_s, soft=soft)
        return sum((await self._channels.run_all(exchanges)).values())

    async def invalidate_prefix(self, prefix: Key, *, deadline_s: float | None = None) -> int:
        """See Region.invalidate_prefix."""
        return await self._remove(prefix_bytes(prefix), self._core.deadline_at_s(deadline_s), None)

    async def clear(self, *, deadline_s: float | None = None) -> int:
        """See Region.clear."""
        return await self._remove(b"", None, deadline_s)

    async def _remove(self, prefix: bytes, until_s: float | None, deadline_s: float | None) -> int:
        removed_count = 0
        for part in self._core.parts():
            cursor = b""
            while True:
                left_s = seconds_left(self._core, until_s, deadline_s, removed_count)
                count, cursor = await self._channels.run(self._core.clear_page(part, prefix, cursor, left_s))
                removed_count += count
                if not cursor:
                    break
        self._core.invalidations_count += 1
        return removed_count


def tag_exchanges(
    core: RegionCore, tag: str, level: Level | None, deadline_s: float | None, *, soft: bool
) -> list[Exchange[dict[Any, Any]]]:
    """Return one exchange for each shard, which hides a tag's entries and says how many; all is checked before."""
    raw, number, deadline_at_s = tag_bytes(tag), core.reads.level(level), core.deadline_at_s(deadline_s)
    core.session.check_open()
    core.invalidations_count += 1

    def of(part: Any) -> Exchange[dict[Any, Any]]:
        count = yield from core.writes.invalidate_tag(part, raw, number, deadline_at_s, soft=soft)
        return {part.shard.number: count}

    return [of(part) for part in core.parts()]


def seconds_left(core: RegionCore, until_s: float | None, deadline_s: float | None, removed_count: int) -> float | None:
    """Return the seconds that the next message may take; raises DeadlineExceededError where none is left."""
    if until_s is None:
        return deadline_s
    left_s = until_s - core.session.now_s()
    if left_s <= 0:
        raise DeadlineExceededError(
            f"{removed_count} entries were removed and some are left: call it again, with more deadline_s"
        )
    return left_s
