"""How a region is read: first from shared memory, else by asking a replica. Decides; sends nothing.

`near_value` is the hot path of the whole cache; what it leaves to `exchanges` it calls FAR.
"""

from __future__ import annotations

from binascii import crc32
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, cast

from daycache_ray.client.arguments import LEVELS, deadline_of, key_bytes, level_number
from daycache_ray.client.exchanges import Exchange, converse
from daycache_ray.client.node_reads import FAR, Far
from daycache_ray.client.records import Seen, seen_of, seen_of_own
from daycache_ray.client.session import Session, ShardSession
from daycache_ray.client.weak_writes import WeakWrites
from daycache_ray.codecs.registry import DECODERS, TRUSTING_DECODERS
from daycache_ray.structures.slots import shard_of_slot
from daycache_ray.structures.store_keys import service_prefix, slot_of_store_key, store_key
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.limits import BATCH_OPERATIONS_MAX
from daycache_ray.words.operations import Found, Level, Operation, Read
from daycache_ray.words.records import HEADER, HEADER_BYTES, Codec, Flag
from daycache_ray.words.types import CacheConsistencyLevel, Entry, ShardId

PLACES_MAX: Final = 16_384
"""Keys whose place a client remembers: 0.4 us saved per read, about 4 MB where all are used."""

ACCESSES_MAX: Final = 4_096
"""Accesses of one region that wait to be shipped; the oldest give way, a reader never does."""

_CODEC_AT: Final = 36
_FLAGS_AT: Final = 37
_UNUSUAL: Final = 0xFF & ~int(Flag.PREFETCHED)
_HEADER_BYTES: Final = int(HEADER_BYTES)
_NUMBERS: Final[dict[Any, int]] = {name: int(level) for name, level in LEVELS.items()}
_new_tuple: Final = cast("Callable[[type[Place], tuple[Any, ...]], Place]", tuple.__new__)
"""Makes a Place in a third of the time that calling the class takes."""

assert HEADER.unpack(bytes(_CODEC_AT) + b"\7\3" + bytes(2))[5:7] == (7, 3)


class Absent:
    """The type of ABSENT."""


ABSENT: Final = Absent()
"""A miss, where None is a value."""


class Place(NamedTuple):
    """Where a key lives: its store key, the shard, and its bucket in the visited page."""

    stored: bytes
    part: ShardSession
    bucket: int
    read: Callable[[bytes, int, int], bytes | Far | None]
    key: bytes


class RegionReads:
    """Reads of one region by one session."""

    def __init__(self, session: Session, config: RegionConfig, weak: WeakWrites) -> None:
        self.config = config
        self.session = session
        self.default_level = level_number(config.level)
        self.service = "" if config.shared_between_services else session.service
        self.accesses: deque[bytes | tuple[bytes]] = deque(maxlen=ACCESSES_MAX)
        """What was asked for, in order: a store key for a hit, a tuple of one for a miss."""
        self.wake_stream: Callable[[], None] = _nobody
        """Called when a missing key is about to be loaded: whoever ships the accesses should do it now."""
        self.hits_count = 0
        self.misses_count = 0
        self.socket_reads_count = 0
        self._prefix = service_prefix(self.service.encode())
        self._places: dict[Any, Place] = {}
        self._decoders = TRUSTING_DECODERS if config.allow_pickle else DECODERS
        self._weak = weak
        self._default_number = int(self.default_level)
        self._parts = [
            session.part(ShardId(config.name, number)) for number in range(session.router.shard_count(config.name))
        ]

    @property
    def memory_reads_count(self) -> int:
        """Reads that needed no message."""
        return self.hits_count + self.misses_count - self.socket_reads_count

    def place(self, key: Any) -> Place:
        """Return where a key lives; raises InvalidKeyError."""
        try:
            known = self._places.get(key)
        except TypeError:
            known = None
        if known is not None:
            return known
        raw = key_bytes(key)
        stored = store_key(raw, self._prefix)
        part = self._parts[shard_of_slot(slot_of_store_key(stored), len(self._parts))]
        place = _new_tuple(Place, (stored, part, crc32(stored), part.near.read, raw))
        if len(self._places) >= PLACES_MAX:
            self._places.clear()
        self._places[key] = place
        return place

    def near_value(self, key: Any, default: Any, level: Any) -> Any:
        """Return the value of `key` out of shared memory, `default` for a miss, or FAR."""
        try:
            place = self._places.get(key)
        except TypeError:
            place = None
        if place is None:
            place = self.place(key)
        stored, part, bucket, read, _ = place
        if level is None:
            number = self._default_number
        else:
            try:
                number = _NUMBERS[level]
            except (KeyError, TypeError):
                number = int(level_number(level))
        if not number and self._weak.holds(part.shard.number, stored):
            return FAR
        record: Any = read(stored, bucket, number)
        if record is None:
            self.misses_count += 1
            self.accesses.append((stored,))
            return default
        if record is FAR:
            return FAR
        if record[_FLAGS_AT] & _UNUSUAL:
            return self._unusual_value(place, record, default)
        self.hits_count += 1
        self.accesses.append(stored)
        return self._decoders[record[_CODEC_AT]](record[_HEADER_BYTES:])

    def value(self, key: Any, default: Any, level: Any, deadline_s: Any) -> Exchange[Any]:
        """Read a value that shared memory did not give, or not yet."""
        deadline_at_s = self.session.now_s() + deadline_of(deadline_s)
        if self.session.look_near(self.place(key).part):
            value = self.near_value(key, default, level)
            if value is not FAR:
                return value
        seen = yield from self.seen(key, level, deadline_at_s)
        return default if seen is None or seen.is_negative else self.decode(seen)

    def seen(self, key: Any, level: Any, deadline_at_s: float, *, counts: bool = True) -> Exchange[Seen | None]:
        """Return what is visible of `key`, remembered misses included, from wherever `level` allows.

        `counts`: whether this is an access of its own, for statistics and prediction.
        """
        seen, _ = yield from self.observed(key, level, deadline_at_s, counts=counts)
        return seen

    def observed(
        self, key: Any, level: Any, deadline_at_s: float, *, counts: bool = True
    ) -> Exchange[tuple[Seen | None, float | None]]:
        """Return what `seen` returns, and how many seconds old at most the state is that it comes from."""
        place = self.place(key)
        number = self.default_level if level is None else level_number(level)
        own = self.own_write(place) if number == Level.WEAK else None
        if own is not None:
            return seen_of_own(own), None
        if self.session.look_near(place.part):
            near, bound_s = self.near_seen(place, number)
            if not isinstance(near, Far):
                if counts:
                    self.count(place, near, from_memory=True)
                return near, bound_s
        found, bound_s = yield from self.far_bounded(place.part, [place], number, deadline_at_s)
        if counts:
            self.count(place, found[0], from_memory=False)
        return found[0], bound_s

    def own_write(self, place: Place) -> Operation | None:
        """Return one's own WEAK write of a key that has not landed."""
        return self._weak.operation(place.part.shard.number, place.stored)

    def level(self, level: Any) -> Level:
        """Return a call's level as it travels; raises UnknownLevelError."""
        return self.default_level if level is None else level_number(level)

    def far(
        self, part: ShardSession, places: list[Place], level: Level, deadline_at_s: float, *, stale_ns: int = 0
    ) -> Exchange[list[Seen | None]]:
        """Ask a shard's replicas for records, in the order of `places`; also for those expired not longer ago than
        `stale_ns`.
        """
        found, _ = yield from self.far_bounded(part, places, level, deadline_at_s, stale_ns=stale_ns)
        return found

    def far_bounded(
        self,
        part: ShardSession,
        places: list[Place],
        level: Level,
        deadline_at_s: float,
        *,
        stale_ns: int = 0,
        any_copy: bool = True,
    ) -> Exchange[tuple[list[Seen | None], float | None]]:
        """Return what `far` returns, and the age of the oldest state that was read; `any_copy` False: the primary's."""
        token = part.token
        worst_s: float | None = 0.0
        found: list[Seen | None] = []
        for start in range(0, len(places), BATCH_OPERATIONS_MAX):
            keys = [place.stored for place in places[start : start + BATCH_OPERATIONS_MAX]]

            def build(request_id: int, keys: list[bytes] = keys) -> Read:
                region, number = part.shard
                return Read(request_id, region, number, keys, level, token.epoch, token.lsn, stale_ns > 0)

            answer: Found
            answer, member = yield from converse(
                self.session, part.shard, build, deadline_at_s, any_copy=any_copy and level != Level.STRONG
            )
            bound_s = 0.0 if level == Level.STRONG else answer.age_ns / 1e9 if answer.age_ns >= 0 else None
            worst_s = None if bound_s is None or worst_s is None else max(bound_s, worst_s)
            is_primary = member.seat == self.session.router.shard(part.shard).primary_seat
            served_by = "primary" if is_primary else "secondary"
            newest_lsn = 0
            for place, record in zip(places[start:], answer.records, strict=False):
                seen = None if record is None else seen_of(record, place.key, served_by, bound_s)
                # A STRONG answer has the horizon of the log in it already; others may add the clock.
                if seen is not None and (stale_ns or level != Level.STRONG):
                    seen = None if seen.is_expired(self.session.wall_ns() - stale_ns) else seen
                newest_lsn = max(newest_lsn, answer.applied_lsn if seen is None else seen.version.lsn)
                found.append(seen)
            token.observe(answer.applied_epoch, newest_lsn)
        return found, worst_s

    def many(
        self, keys: Iterable[Any], level: Any, deadline_s: Any
    ) -> tuple[dict[Any, Any], list[Exchange[dict[Any, Any]]]]:
        """Return what shared memory has of `keys`, and one exchange for each shard that must be asked."""
        number = self.default_level if level is None else level_number(level)
        deadline_at_s = self.session.now_s() + deadline_of(deadline_s)
        found: dict[Any, Any] = {}
        far: dict[ShardSession, list[tuple[Any, Place]]] = {}
        for key in keys:
            value = self.near_value(key, ABSENT, level)
            if value is FAR:
                place = self.place(key)
                if place.part.near.near is None and self.session.look_near(place.part):
                    value = self.near_value(key, ABSENT, level)
            if value is FAR:
                far.setdefault(self.place(key).part, []).append((key, self.place(key)))
            elif value is not ABSENT:
                found[key] = value
        return found, [self._many_of(part, asked, number, deadline_at_s) for part, asked in far.items()]

    def entry(self, key: Any, level: Any, deadline_s: Any) -> Exchange[Entry | None]:
        """Read a value with what is known about it."""
        seen = yield from self.seen(key, level, self.session.now_s() + deadline_of(deadline_s))
        if seen is None or seen.is_negative:
            return None
        return self.entry_of(seen, level)

    def entry_of(self, seen: Seen, level: Any) -> Entry:
        """Return what was read as its caller gets it."""
        number = self.default_level if level is None else level_number(level)
        expires_at_s = seen.expires_at_ns / 1e9 if seen.expires_at_ns else None
        told = CacheConsistencyLevel(number.name.lower())
        bound_s = seen.staleness_bound_s
        return Entry(self.decode(seen), seen.version, expires_at_s, told, seen.served_by, bound_s, seen.tags)

    def exists(self, key: Any, level: Any, deadline_s: Any) -> Exchange[bool]:
        """Read whether there is an entry."""
        seen = yield from self.seen(key, level, self.session.now_s() + deadline_of(deadline_s))
        return seen is not None and not seen.is_negative

    def ttl_s(self, key: Any, level: Any, deadline_s: Any) -> Exchange[float | None]:
        """Read how long an entry will live; None where it never expires or is not there."""
        seen = yield from self.seen(key, level, self.session.now_s() + deadline_of(deadline_s))
        if seen is None or seen.is_negative or not seen.expires_at_ns:
            return None
        return max(0.0, (seen.expires_at_ns - self.session.wall_ns()) / 1e9)

    def view(self, key: Any, level: Any, deadline_s: Any) -> Exchange[Any]:
        """Read a value for reading only: bytes as a memoryview, arrays on shared memory."""
        seen = yield from self.seen(key, level, self.session.now_s() + deadline_of(deadline_s))
        if seen is None or seen.is_negative:
            return None
        return memoryview(seen.plain_payload).toreadonly() if seen.codec == Codec.BYTES else self.decode(seen)

    def decode(self, seen: Seen) -> Any:
        """Return the value of a record."""
        return self._decoders[seen.codec](seen.plain_payload)

    def _many_of(
        self, part: ShardSession, asked: list[tuple[Any, Place]], level: Level, deadline_at_s: float
    ) -> Exchange[dict[Any, Any]]:
        own = {place.stored: self._weak.operation(part.shard.number, place.stored) for _, place in asked if not level}
        missing = [(key, place) for key, place in asked if own.get(place.stored) is None]
        found = {}
        for key, place in asked:
            operation = own.get(place.stored)
            if operation is not None:
                found[key] = self.decode(seen_of_own(operation))
        if missing:
            answers = yield from self.far(part, [place for _, place in missing], level, deadline_at_s)
            for (key, place), seen in zip(missing, answers, strict=True):
                self.count(place, seen, from_memory=False)
                if seen is not None and not seen.is_negative:
                    found[key] = self.decode(seen)
        return found

    def near_seen(self, place: Place, level: Level) -> tuple[Seen | Far | None, float | None]:
        """Return what shared memory shows of a key, and how many seconds old at most that is."""
        near = place.part.near
        record, bound_s = near.read_bounded(place.stored, place.bucket, level)
        if record is None or isinstance(record, Far):
            return record, bound_s
        payload = near.payload(record)
        if payload is None:
            return FAR, None
        return seen_of(record, place.key, near.served_by(), bound_s, payload), bound_s

    def _unusual_value(self, place: Place, record: bytes, default: Any) -> Any:
        payload = place.part.near.payload(record)
        if payload is None:
            return FAR
        seen = seen_of(record, place.key, "memory", None, payload)
        self.count(place, seen, from_memory=True)
        return default if seen is None or seen.is_negative else self.decode(seen)

    def count(self, place: Place, seen: Seen | None, *, from_memory: bool) -> None:
        """Note an access."""
        if not from_memory:
            self.socket_reads_count += 1
        if seen is None or seen.is_negative:
            self.misses_count += 1
            self.accesses.append((place.stored,))
        else:
            self.hits_count += 1
            self.accesses.append(place.stored)


def _nobody() -> None:
    """Nobody ships the accesses."""
