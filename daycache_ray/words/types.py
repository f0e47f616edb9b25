"""The words of the cache as types: one meaning and one unit each. No behaviour beyond checks."""

from __future__ import annotations

import enum
import reprlib
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias


class CacheConsistencyLevel(str, enum.Enum):
    """What a write waits for and what a read may be answered from.

    STRONG: linearizable per key; an acknowledged write survives every failover.
    EVENTUAL: the primary has applied a write; reads are monotonic and see one's own writes.
    WEAK: a write is in the client's send buffer; a read may come from any copy.

    >>> CacheConsistencyLevel("strong") is CacheConsistencyLevel.STRONG
    True
    """

    STRONG = "strong"
    EVENTUAL = "eventual"
    WEAK = "weak"


class CacheRegion(str, enum.Enum):
    """The regions every embedded cluster has; users add their own by name."""

    MARKET_DATA = "market_data"
    TRADING_POSITIONS = "trading_positions"
    ANALYSIS_RESULTS = "analysis_results"


class AccessPattern(str, enum.Enum):
    """How a key is asked for: often, rarely, in a sudden crowd, or by the clock."""

    HOT = "hot"
    COLD = "cold"
    BURST = "burst"
    PERIODIC = "periodic"


Level: TypeAlias = CacheConsistencyLevel | str
Key: TypeAlias = str | bytes
Eviction: TypeAlias = Literal["two_hands", "sieve"]
PriorityName: TypeAlias = Literal["low", "normal", "high"]


class Instant(NamedTuple):
    """One reading of a node's two clocks, taken by the shell and passed down.

    `boot_ns` (CLOCK_BOOTTIME) never steps: leases, deadlines. `wall_ns` may step: expiry only.
    """

    boot_ns: int
    wall_ns: int


class Version(NamedTuple):
    """Where a write stands in its shard's history: later writes of a key compare greater.

    >>> Version(epoch=2, lsn=7) > Version(epoch=1, lsn=900)
    True
    """

    epoch: int
    lsn: int


class ShardId(NamedTuple):
    """One set of slots of one region: `number` counts from 0 within the region."""

    region: str
    number: int

    def __str__(self) -> str:
        return f"{self.region}/{self.number}"


class Member(NamedTuple):
    """One life of one replica. A restart is a new incarnation: it has forgotten what it promised.

    `seat` numbers the replicas of a shard from 0; the coordinator hands out incarnations from 1.
    """

    seat: int
    incarnation: int

    def __str__(self) -> str:
        return f"seat {self.seat}.{self.incarnation}"


class Role(enum.IntEnum):
    """What a replica is at the moment; the numbers stand in the fence page."""

    NONE = 0
    SECONDARY = 1
    PRIMARY = 2
    JOINING = 3
    FENCED = 4


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """A value with what is known about it.

    `expires_at_s` is wall-clock seconds or None; `served_by` names the copy that answered
    ("memory" for node-shared memory of the primary, "memory-secondary", "primary");
    `staleness_bound_s` is 0.0 where the answer was current, None where no bound is known.
    """

    value: Any
    version: Version
    expires_at_s: float | None
    level: CacheConsistencyLevel
    served_by: str
    staleness_bound_s: float | None
    tags: tuple[str, ...] = ()

    def __repr__(self) -> str:
        ends = "never expires" if self.expires_at_s is None else f"expires at {self.expires_at_s:.3f} s"
        age = "of unknown age" if self.staleness_bound_s is None else f"at most {self.staleness_bound_s:g} s old"
        version = f"version {self.version.lsn} of epoch {self.version.epoch}"
        return f"<Entry {reprlib.repr(self.value)}, {version}, {ends}, {self.level.value} from {self.served_by}, {age}>"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A write that its origin did not take. It stays in the cache, and counts as not written.

    `value` is words.ports.MISSING for a delete; `attempts_count` are tries that failed while others succeeded.
    """

    key: Key
    value: Any
    version: Version
    error: str
    attempts_count: int


@dataclass(frozen=True, slots=True)
class CacheOptimizationContext:
    """What a caller knows when it asks the optimizer: who, where, and how it goes at the moment."""

    service_name: str
    region: CacheRegion | str
    current_hit_rate: float = 0.0
    avg_access_time_ms: float = 0.0


@dataclass(frozen=True, slots=True, repr=False)
class ShardStatistics:
    """Counters of one replica since it started; byte counts are of its own store."""

    region: str
    shard: int
    seat: int
    role: str
    pid: int
    node_id: str
    epoch: int
    last_lsn: int
    commit_lsn: int
    entries_count: int
    used_bytes: int
    limit_bytes: int
    writes_count: int
    reads_by_socket_count: int
    evictions_count: int
    expirations_count: int
    loads_count: int
    prefetched_count: int
    in_sync_count: int
    replication_lag_records: int
    turns_count: int
    messages_count: int
    mapped_bytes: int = 0
    """What its store's file takes, free pages included; values above a page have files of their own."""
    large_bytes: int = 0
    readers_count: int = 0
    oldest_reader_pid: int = 0
    """Process on its node whose read transaction is behind, 0 when none is."""
    oldest_reader_lag: int = 0
    """Turns that were committed since that transaction began."""
    pinned_bytes_max: int = 0
    """Memory that it keeps from being used again, at most."""
    removed_explicit_count: int = 0
    """What went from its store since its process began, by cause (RemovalCause): of this replica in every role."""
    removed_replaced_count: int = 0
    removed_expired_count: int = 0
    removed_evicted_count: int = 0
    removed_invalidated_count: int = 0
    removed_lost_count: int = 0
    removal_followers_count: int = 0
    """How many clients listen to that."""
    dirty_count: int = 0
    """Entries that wait to be written to the origin, dead letters included."""
    dirty_bytes: int = 0
    dirty_age_s: float = 0.0
    """How long the oldest of them has waited; after a failover it counts from there."""
    dead_letters_count: int = 0
    written_behind_count: int = 0
    """Entries that this replica has written to the origin; failures are calls of the writer that raised."""
    write_failures_count: int = 0

    def __repr__(self) -> str:
        return (
            f"<ShardStatistics {self.region}/{self.shard} seat {self.seat}, {self.role} of epoch {self.epoch} "
            f"in process {self.pid}, {_holdings(self)}, log at {self.last_lsn}, {self.commit_lsn} committed, "
            f"{self.in_sync_count} in sync>"
        )


@dataclass(frozen=True, slots=True, repr=False)
class RegionStatistics:
    """A region as one client sees it: the sums over its primaries, and this client's own reads."""

    region: str
    entries_count: int
    used_bytes: int
    limit_bytes: int
    writes_count: int
    evictions_count: int
    expirations_count: int
    loads_count: int
    prefetched_count: int
    hits_count: int
    misses_count: int
    memory_reads_count: int
    socket_reads_count: int
    weak_writes_lost_count: int
    shards: tuple[ShardStatistics, ...]
    stale_answers_count: int = 0
    """Answers of this client's get_or_load that had expired, because the origin was slow or down."""
    background_loads_count: int = 0
    """Loads that this client ran behind an answer."""
    breaker_openings_count: int = 0
    """How often this client began to leave an origin alone."""
    removed_explicit_count: int = 0
    """What went from the primaries' stores since their processes began, by cause; see RemovalCause."""
    removed_replaced_count: int = 0
    removed_expired_count: int = 0
    removed_evicted_count: int = 0
    removed_invalidated_count: int = 0
    removed_lost_count: int = 0
    dirty_count: int = 0
    """Entries that wait to be written to the origin, dead letters included."""
    dirty_bytes: int = 0
    dirty_age_s: float = 0.0
    """How long the oldest of them has waited."""
    dead_letters_count: int = 0
    invalidations_count: int = 0
    """This client's calls that removed entries by tag, by prefix or all of them."""

    @property
    def hit_ratio(self) -> float:
        """This client's hits per read, 0.0 when it has not read yet."""
        reads = self.hits_count + self.misses_count
        return self.hits_count / reads if reads else 0.0

    def __repr__(self) -> str:
        reads = f"{self.hits_count:,} hits and {self.misses_count:,} misses here".replace(",", " ")
        return f"<RegionStatistics '{self.region}': {_holdings(self)}, {reads} ({self.hit_ratio:.1%})>"


def _holdings(statistics: ShardStatistics | RegionStatistics) -> str:
    count = f"{statistics.entries_count:,}".replace(",", " ")
    return f"{count} entries, {statistics.used_bytes / 2**20:.1f} of {statistics.limit_bytes / 2**20:.1f} MiB"
