"""What is done to a region as a whole, as threads use it: go through it, count it. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from daycache_ray.client.channels import Channels
from daycache_ray.client.region_core import RegionCore, prefix_bytes, texts
from daycache_ray.client.removals import Listener, RemovalSubscription
from daycache_ray.words.removals import RemovalCause
from daycache_ray.words.types import Key, RegionStatistics


class WholeRegion:
    """The calls of `Region` that are about all of its keys."""

    _core: RegionCore
    _channels: Channels

    def scan(self, prefix: Key = "", *, deadline_s: float | None = None) -> Iterator[Key]:
        """Go through the keys that begin with `prefix`, shard by shard, in no promised order.

        Keys written or removed meanwhile may come or not. A key comes as str where its bytes are UTF-8.
        `deadline_s` is for each message of up to 1 000 keys.
        """
        raw = prefix_bytes(prefix)
        self._core.session.check_open()
        for part in self._core.parts():
            cursor = b""
            while True:
                page = self._channels.run(self._core.scan_page(part, raw, cursor, deadline_s))
                yield from texts(page.keys)
                cursor = page.cursor
                if not cursor:
                    break

    def flush(self, *, deadline_s: float | None = None) -> None:
        """Send the WEAK writes that wait, and wait until they are applied; what is lost is counted."""
        self._core.session.check_open()
        for number in self._core.weak.busy_shards():
            part = self._core.parts()[number]
            self._channels.run(self._core.writes.flush(part, self._core.deadline_at_s(deadline_s)))

    def on_removed(self, listener: Listener, causes: Iterable[RemovalCause | str] | None = None) -> RemovalSubscription:
        """Call `listener` with a Removal for every version of an entry that goes from now on.

        At most once each, soon after, and never from the data path: in a thread of its own, in the order in which
        the versions of one shard went. A listener that is too slow loses the oldest of what waits, 16 384 a shard,
        which `lost_count` of the answer says; what goes while another primary takes over is not delivered. Only keys
        of this service are heard of.

        Args:
            listener: a function of one Removal. It may use the cache. What it raises is logged and counted.
            causes: RemovalCause or their values, "explicit", "replaced", "expired", "evicted", "invalidated",
                "lost"; None: all of them.

        Returns the subscription: `cancel()` it, or use it in a `with` block.
        """
        subscription = RemovalSubscription(self._core, listener, causes)
        for exchange in subscription.exchanges():
            self._channels.run(exchange)
        self._core.follow(subscription)
        return subscription

    def statistics(self, *, deadline_s: float | None = None) -> RegionStatistics:
        """Return the region's counters, summed over its primaries, and this client's own."""
        exchanges = [self._core.shard_statistics(part, deadline_s) for part in self._core.parts()]
        return self._core.statistics(self._channels.run_all(exchanges))

    def shard_for(self, key: Key) -> Any:
        """Return the handle of the Ray actor that is primary for `key`.

        Its methods take the same keys: `ray.get(region.shard_for(key).get.remote(key))`. After a
        failover another actor is primary: ask again.
        """
        name = self._core.primary_actor_name(key)
        return self._channels.actor_handle(name)
