"""A region as threads use it: reads come out of shared memory where it can be, the rest by socket."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from daycache_ray.client.arguments import REGION_TTL, RegionTtl
from daycache_ray.client.bounded_reads import limit_of
from daycache_ray.client.cached import CachedDecorator
from daycache_ray.client.channels import Channels
from daycache_ray.client.dead_letters import DeadLetterCalls
from daycache_ray.client.invalidation import Invalidation
from daycache_ray.client.lifetimes import Moment, lifetime
from daycache_ray.client.node_reads import FAR
from daycache_ray.client.region_core import RegionCore
from daycache_ray.client.region_reads import ABSENT
from daycache_ray.client.whole_region import WholeRegion
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.types import Entry, Key, Level, PriorityName, Version


class Region(Invalidation, WholeRegion, DeadLetterCalls):
    """One key space of a cluster. Threads may share it.

    In every call `level` is "strong", "eventual" or "weak" (None: the region's own), `deadline_s` the
    seconds after which it gives up (None: 5), and `ttl_s` the seconds that an entry lives (None: for
    ever; left out: what the region's configuration says). `expires_at` in its place is the moment until
    which it lives, exactly: a datetime with a time zone, or seconds since 1970.

    Every call raises InvalidKeyError, InvalidTtlError, UnknownLevelError or InvalidArgumentError for
    wrong arguments, CacheClosedError after close, ShardUnavailableError or DeadlineExceededError when
    no replica answered in time; writes also UnknownOutcomeError when they may have happened.
    """

    def __init__(self, core: RegionCore, channels: Channels) -> None:
        self._core = core
        self._reads = core.reads
        self._writes = core.writes
        self._letters = core.letters
        self.near_value = core.reads.near_value
        """`get` as far as shared memory answers, without `deadline_s`; else node_reads.FAR."""
        self._channels = channels
        self._run = channels.run
        self._run_all = channels.run_all

    def __repr__(self) -> str:
        return f"<Region {self._core.describe()}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a region does not travel: call daycache.connect() and region('{self.name}') in the other process"
        )

    @property
    def name(self) -> str:
        """The region's name."""
        return self._core.config.name

    @property
    def config(self) -> RegionConfig:
        """What the region was configured with."""
        return self._core.config

    def get(
        self,
        key: Key,
        default: Any = None,
        *,
        level: Level | None = None,
        max_staleness_s: float | None = None,
        on_stale: str = "raise",
        deadline_s: float | None = None,
    ) -> Any:
        """Return the value of `key`, or `default` where there is none.

        Arrays and tables of more than 4 KB lie on shared memory and are read-only.

        Args:
            max_staleness_s: how old the answer may be, from 0: everything acknowledged so long before this
                call is in it. None: as old as the level allows.
            on_stale: where the nearest copy is older, or cannot say: "raise" StaleError, "refresh" from the
                primary, or "serve" it all the same.
        """
        if max_staleness_s is not None:
            limit = limit_of(max_staleness_s, on_stale)
            return self._run(self._core.bounded.value(key, default, level, limit, deadline_s))
        value = self.near_value(key, default, level)
        if value is not FAR:
            return value
        return self._run(self._reads.value(key, default, level, deadline_s))

    def get_entry(
        self,
        key: Key,
        *,
        level: Level | None = None,
        max_staleness_s: float | None = None,
        on_stale: str = "raise",
        deadline_s: float | None = None,
    ) -> Entry | None:
        """Return the value with its version, expiry, origin and greatest age, or None; see `get`."""
        if max_staleness_s is not None:
            limit = limit_of(max_staleness_s, on_stale)
            return self._run(self._core.bounded.entry(key, level, limit, deadline_s))
        return self._run(self._reads.entry(key, level, deadline_s))

    def get_many(
        self,
        keys: Iterable[Key],
        *,
        level: Level | None = None,
        max_staleness_s: float | None = None,
        on_stale: str = "raise",
        deadline_s: float | None = None,
    ) -> dict[Key, Any]:
        """Return the values that there are; shards that memory cannot answer for are asked once each; see `get`."""
        if max_staleness_s is not None:
            limit = limit_of(max_staleness_s, on_stale)
            return self._run_all(self._core.bounded.many(keys, level, limit, deadline_s))
        found, exchanges = self._reads.many(keys, level, deadline_s)
        if exchanges:
            found.update(self._run_all(exchanges))
        return found

    def set(
        self,
        key: Key,
        value: Any,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        expires_at: Moment | None = None,
        tags: Iterable[str] = (),
        level: Level | None = None,
        priority: PriorityName = "normal",
        deadline_s: float | None = None,
    ) -> Version:
        """Write a value and return its version; a WEAK one has none yet and answers Version(0, 0).

        `tags`: up to 16 words of 1 to 128 bytes by which `invalidate_tag` finds the entry; a write replaces them.
        `priority`: where the region is full "low" goes before everything else of its service, "high" is spared longer.

        Raises:
            InvalidValueError, ValueTooLargeError: the value cannot be stored; the message says what can.
            NotEnoughReplicasError: STRONG, and too few copies are in sync: nothing was written.
            RegionFullError: nothing in the region may be evicted.
        """
        until = lifetime(ttl_s, expires_at)
        return self._run(self._writes.set(key, value, until, level, deadline_s, tags, priority))

    def set_many(
        self,
        values: Mapping[Key, Any],
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        expires_at: Moment | None = None,
        tags: Iterable[str] = (),
        level: Level | None = None,
        priority: PriorityName = "normal",
        deadline_s: float | None = None,
    ) -> dict[Key, Version]:
        """Write values, one message per shard, and return their versions; raises as `set`.

        All values are checked before the first is sent. When a shard fails the others are written all
        the same, and then its error is raised.
        """
        until = lifetime(ttl_s, expires_at)
        return self._run_all(self._writes.set_many(values, until, level, deadline_s, tags, priority))

    def add(
        self,
        key: Key,
        value: Any,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        tags: Iterable[str] = (),
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> bool:
        """Write a value where there is none; return whether it was written. Raises as `set`."""
        return self._run(self._writes.add(key, value, ttl_s, level, deadline_s, tags))

    def delete(self, key: Key, *, level: Level | None = None, deadline_s: float | None = None) -> bool:
        """Remove an entry; return whether there was one."""
        return self._run(self._writes.delete(key, level, deadline_s))

    def exists(self, key: Key, *, level: Level | None = None, deadline_s: float | None = None) -> bool:
        """Return whether there is an entry."""
        return self._run(self._reads.exists(key, level, deadline_s))

    def touch(
        self,
        key: Key,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        *,
        expires_at: Moment | None = None,
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> bool:
        """Give an entry a new time to live from now on; return whether there is one."""
        return self._run(self._writes.touch(key, lifetime(ttl_s, expires_at), level, deadline_s))

    def ttl(self, key: Key, *, level: Level | None = None, deadline_s: float | None = None) -> float | None:
        """Return the seconds that an entry has to live; None where it never expires or is not there."""
        return self._run(self._reads.ttl_s(key, level, deadline_s))

    def increment(
        self,
        key: Key,
        by: float = 1,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> int | float:
        """Add to a number, a missing one counts as 0, and return the new one.

        Without `ttl_s` an entry keeps its time to live.

        Raises:
            NotANumberError: the entry holds something else, or the sum is beyond 64 bits.
        """
        return self._run(self._writes.increment(key, by, ttl_s, level, deadline_s))

    def compare_and_set(
        self,
        key: Key,
        value: Any,
        expected: Version | None,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        tags: Iterable[str] = (),
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> Version:
        """Write a value where the entry's version is `expected` (None: where there is none).

        Raises:
            VersionConflictError: it is another one, `error.current`: read again and decide anew.
        """
        return self._run(self._writes.compare_and_set(key, value, expected, ttl_s, level, deadline_s, tags))

    def get_or_load(
        self,
        key: Key,
        loader: Any = None,
        *,
        default: Any = None,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        tags: Iterable[str] = (),
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> Any:
        """Return the value of `key`; where it is missing one caller in the whole cluster loads it.

        Args:
            loader: a callable, Loader or BatchLoader; None: the region's own.
            default: what is returned where the origin has no such key (the loader returns MISSING).
            deadline_s: None: the region's `load_deadline_s` and 5 seconds more.

        Raises:
            NoLoaderError: neither the call nor the region has one.
            LoadError: the loader raised or hung, here or where the load was awaited.
            OriginDownError: it failed so often in a row that it is left alone for a while.
            BackpressureError: too many loads wait for it in this process.
            LoadCycleError: the loader asked for the key that it is loading.
        """
        value = self._core.loads.near_value(key, level, ttl_s)
        if value is not FAR and value is not ABSENT:
            return value
        is_known = value is ABSENT
        return self._run(
            self._core.loads.one(key, loader, default, ttl_s, level, deadline_s, counted=is_known, tags=tags)
        )

    def get_or_load_many(
        self,
        keys: Iterable[Key],
        loader: Any = None,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        tags: Iterable[str] = (),
        level: Level | None = None,
        deadline_s: float | None = None,
    ) -> dict[Key, Any]:
        """Return the values that there are, missing ones loaded in one question; raises as get_or_load."""
        return self._run(self._core.loads.many(keys, loader, ttl_s, level, deadline_s, tags))

    @contextlib.contextmanager
    def view(self, key: Key, *, level: Level | None = None, deadline_s: float | None = None) -> Iterator[Any]:
        """Give the value for reading only, without a copy where it is large; None where there is none.

        bytes come as a read-only memoryview, arrays and tables lie on shared memory.
        """
        yield self._run(self._reads.view(key, level, deadline_s))

    def cached(
        self,
        *,
        ttl_s: float | RegionTtl | None = REGION_TTL,
        key: Callable[..., Key] | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        level: Level | None = None,
    ) -> CachedDecorator:
        """Return a decorator that keeps a function's results here: `@region.cached(ttl_s=60)`.

        The decorated function has `invalidate`, `refresh` and `key_for`, which take the call's own arguments.
        A coroutine function stays one. Concurrent callers that miss share one computation in the whole cluster.

        Args:
            ttl_s: seconds that a result lives.
            key: a function of the same arguments that returns str or bytes; None: the function's module and
                name, and the text of its arguments, of which InvalidArgumentError says which have none.
            tags: tags of the results, or a function of the same arguments that returns them; see `invalidate_tag`.
            level: at which level results are read and refreshed.
        """
        self._core.check_cached(ttl_s, level, tags)
        return CachedDecorator(self, {"ttl_s": ttl_s, "key": key, "tags": tags, "level": level})
