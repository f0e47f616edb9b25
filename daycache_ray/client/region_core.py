"""What a region's two faces have in common: the parts that decide, put together for one session.

Scans and statistics, which go through all shards, are here too. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from daycache_ray.client.arguments import REGION_TTL, deadline_of, key_text, level_number, tags_bytes, ttl_ns_of
from daycache_ray.client.bounded_reads import BoundedReads
from daycache_ray.client.dead_letters import DeadLetters
from daycache_ray.client.exchanges import Exchange, ask
from daycache_ray.client.loading import RegionLoads
from daycache_ray.client.region_reads import RegionReads
from daycache_ray.client.region_writes import RegionWrites
from daycache_ray.client.session import Session, ShardSession
from daycache_ray.client.weak_writes import WeakWrites
from daycache_ray.client.write_through import WriteThrough
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import InvalidArgumentError, ShardUnavailableError
from daycache_ray.words.operations import AskStatistics, Scan, Scanned, StatisticsAnswer
from daycache_ray.words.removals import CAUSES
from daycache_ray.words.types import RegionStatistics, ShardId, ShardStatistics

SCAN_KEYS: Final = 1_000
"""Keys that one scan message brings."""

_SUMS: Final = (
    "entries_count",
    "used_bytes",
    "limit_bytes",
    "writes_count",
    "evictions_count",
    "expirations_count",
    "loads_count",
    "prefetched_count",
    *(f"removed_{cause.value}_count" for cause in CAUSES),
    "dirty_count",
    "dirty_bytes",
    "dead_letters_count",
)


class RegionCore:
    """One region for one session."""

    def __init__(self, session: Session, config: RegionConfig, weak: WeakWrites) -> None:
        self.session = session
        self.config = config
        self.weak = weak
        self.reads = RegionReads(session, config, weak)
        self.bounded = BoundedReads(self.reads)
        self.writes = WriteThrough(self.reads, weak) if config.writes_through else RegionWrites(self.reads, weak)
        self.letters = DeadLetters(self.reads)
        self.loads = RegionLoads(self.reads, self.writes)
        self.follow: Callable[[Any], None] = lambda subscription: None
        """Serves a RemovalSubscription from now on; whoever owns the session puts the right one here."""
        self.invalidations_count = 0

    def parts(self) -> list[ShardSession]:
        """Return the region's shards."""
        count = self.session.router.shard_count(self.config.name)
        return [self.session.part(ShardId(self.config.name, number)) for number in range(count)]

    def deadline_at_s(self, deadline_s: float | None) -> float:
        """Return the moment, on the session's clock, at which a call gives up."""
        return self.session.now_s() + deadline_of(deadline_s)

    def scan_page(
        self, part: ShardSession, prefix: bytes, cursor: bytes, deadline_s: float | None
    ) -> Exchange[Scanned]:
        """Return up to SCAN_KEYS keys of one shard, and the cursor to go on from; it is empty at the end."""
        region, number = part.shard
        service = self.reads.service

        def build(request_id: int) -> Scan:
            return Scan(request_id, region, number, service, prefix, cursor, SCAN_KEYS)

        deadline_at_s = self.deadline_at_s(deadline_s)
        answer: Scanned = yield from ask(self.session, part.shard, build, deadline_at_s)
        return answer

    def clear_page(
        self, part: ShardSession, prefix: bytes, cursor: bytes, deadline_s: float | None
    ) -> Exchange[tuple[int, bytes]]:
        """Remove the next keys of one shard that begin with `prefix`; return how many there were, and a cursor."""
        page = yield from self.scan_page(part, prefix, cursor, deadline_s)
        if not page.keys:
            return 0, page.cursor
        service = service_prefix(self.reads.service.encode())
        stored = [store_key(key, service) for key in page.keys]
        removed_count = yield from self.writes.delete_keys(part, stored, self.deadline_at_s(deadline_s))
        return removed_count, page.cursor

    def shard_statistics(self, part: ShardSession, deadline_s: float | None) -> Exchange[dict[Any, Any]]:
        """Return the statistics of a shard's primary, under its shard's number."""
        region, number = part.shard
        deadline_at_s = self.deadline_at_s(deadline_s)
        answer: StatisticsAnswer = yield from ask(
            self.session, part.shard, lambda request_id: AskStatistics(request_id, region, number), deadline_at_s
        )
        return {number: ShardStatistics(**answer.fields)}

    def statistics(self, by_number: dict[int, ShardStatistics]) -> RegionStatistics:
        """Return the sums over the primaries beside this client's own counts."""
        shards = tuple(by_number[number] for number in sorted(by_number))
        sums = {name: sum(getattr(shard, name) for shard in shards) for name in _SUMS}
        reads = self.reads
        return RegionStatistics(
            region=self.config.name,
            hits_count=reads.hits_count,
            misses_count=reads.misses_count,
            memory_reads_count=reads.memory_reads_count,
            socket_reads_count=reads.socket_reads_count,
            weak_writes_lost_count=self.weak.lost_count,
            shards=shards,
            stale_answers_count=self.loads.stale_answers_count,
            background_loads_count=self.loads.background_loads_count,
            breaker_openings_count=self.loads.breaker_openings_count,
            dirty_age_s=max((shard.dirty_age_s for shard in shards), default=0.0),
            invalidations_count=self.invalidations_count,
            **sums,
        )

    def primary_actor_name(self, key: Any) -> str:
        """Return the name of the Ray actor that is primary for `key`; raises ShardUnavailableError."""
        self.session.check_open()
        shard = self.reads.place(key).part.shard
        member = self.session.router.primary(shard)
        if member is None:
            raise ShardUnavailableError(f"{shard} has no primary at the moment: try again in a moment")
        return member.actor_name

    def check_cached(self, ttl_s: Any, level: Any, tags: Any) -> None:
        """Raise for the wrong options of a decorator where it stands, not at the first call."""
        if ttl_s is not REGION_TTL:
            ttl_ns_of(ttl_s)
        if level is not None:
            level_number(level)
        if not callable(tags):
            tags_bytes(tags)

    def describe(self) -> str:
        """Return the sentence that a region's repr is."""
        reads = self.reads
        count = self.session.router.shard_count(self.config.name)
        shards = "1 shard" if count == 1 else f"{count} shards"
        copies = f"{self.config.replicas} {'copy' if self.config.replicas == 1 else 'copies'}"
        counts = f"{reads.hits_count:,} hits and {reads.misses_count:,} misses here".replace(",", " ")
        return f"'{self.config.name}' {self.config.level.value}, {shards}, {copies}, {counts}"


def prefix_bytes(prefix: Any) -> bytes:
    """Return a scan's prefix as bytes; empty means all. Raises InvalidArgumentError."""
    if isinstance(prefix, str):
        try:
            return prefix.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError("the prefix has lone surrogates; give its bytes instead") from None
    if isinstance(prefix, bytes):
        return prefix
    raise InvalidArgumentError(f"prefix is str or bytes, not {type(prefix).__name__}")


def texts(keys: Iterable[bytes]) -> list[str | bytes]:
    """Return stored keys as a user would write them."""
    return [key_text(key) for key in keys]
