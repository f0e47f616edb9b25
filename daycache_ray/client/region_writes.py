"""How a region is written: operations for a shard's primary, numbered so that a repetition is harmless.

Decides; sends nothing. A WEAK set stays in the send buffer; every other write first sends what the
buffer holds for its shard, so that one's own writes keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daycache_ray.client.arguments import (
    REGION_TTL,
    check_value_size,
    deadline_of,
    expected_of,
    increment_of,
    level_number,
    priority_number,
    tags_bytes,
    ttl_ns_of,
)
from daycache_ray.client.exchanges import Exchange, converse
from daycache_ray.client.lifetimes import Until, ttl_ns_until
from daycache_ray.client.records import with_long_key
from daycache_ray.client.region_reads import Place, RegionReads
from daycache_ray.client.router import Pause
from daycache_ray.client.session import ShardSession
from daycache_ray.client.weak_writes import FLUSH_S, WeakWrites
from daycache_ray.codecs.compression import compressor_of
from daycache_ray.codecs.registry import encode
from daycache_ray.structures.store_keys import service_prefix
from daycache_ray.structures.tags import pack_tags, row_key
from daycache_ray.words.errors import (
    CacheError,
    CorruptRecordError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotANumberError,
    VersionConflictError,
)
from daycache_ray.words.operations import Level, Operation, OperationKind, OperationResult, Outcome, Write, Written
from daycache_ray.words.records import Flag
from daycache_ray.words.types import Version

MESSAGE_OPERATIONS_MAX: Final = 512
"""Operations of one message: half of what a shard remembers of a client for repetitions."""

SHARD_PART: Final = 8
"""Values of one message fill at most this part of a shard, unless a single one is larger: the primary
makes room for a message as a whole."""

DONE, VOID = int(Outcome.DONE), int(Outcome.VOID)

UNSENT: Final = Version(0, 0)
"""What a WEAK write answers: it has no version yet."""


class RegionWrites:
    """Writes of one region by one session."""

    def __init__(self, reads: RegionReads, weak: WeakWrites) -> None:
        self.weak = weak
        self._reads = reads
        self._session = reads.session
        self._config = reads.config
        self._compress = compressor_of(reads.config.compression)
        self._batch_bytes_max = reads.config.memory_bytes // reads.config.shards // SHARD_PART

    def set(
        self,
        key: Any,
        value: Any,
        ttl_s: Any,
        level: Any,
        deadline_s: Any,
        tags: Any = (),
        priority: Any = "normal",
    ) -> Exchange[Version]:
        """Write a value, whatever was there."""
        place = self._reads.place(key)
        operation = self.put_operation(place, value, ttl_s, tags=tags, priority=priority_number(priority))
        number = self._level(level)
        deadline_at_s = self._deadline(deadline_s)
        if number == Level.WEAK:
            self._session.check_open()
            if self.weak.add(place.part.shard.number, operation):
                return UNSENT
        (result,) = yield from self._write(place.part, [operation], number, deadline_at_s)
        return Version(result.epoch, result.lsn)

    def set_many(
        self,
        values: Mapping[Any, Any],
        ttl_s: Any,
        level: Any,
        deadline_s: Any,
        tags: Any = (),
        priority: Any = "normal",
    ) -> list[Exchange[dict[Any, Version]]]:
        """Return one exchange for each shard that has to be written; everything is checked before."""
        if not isinstance(values, Mapping):
            raise InvalidArgumentError(f"set_many takes a mapping of keys to values, not {type(values).__name__}")
        number, priority = self._level(level), priority_number(priority)
        deadline_at_s = self._deadline(deadline_s)
        by_part: dict[ShardSession, list[tuple[Any, Operation]]] = {}
        for key, value in values.items():
            place = self._reads.place(key)
            operation = self.put_operation(place, value, ttl_s, tags=tags, priority=priority)
            by_part.setdefault(place.part, []).append((key, operation))
        return [self._set_part(part, items, number, deadline_at_s) for part, items in by_part.items()]

    def add(self, key: Any, value: Any, ttl_s: Any, level: Any, deadline_s: Any, tags: Any = ()) -> Exchange[bool]:
        """Write a value where there is none."""
        place = self._reads.place(key)
        operation = self.put_operation(place, value, ttl_s, OperationKind.ADD, tags=tags)
        result = yield from self._one(place, operation, level, deadline_s)
        return result.outcome == Outcome.DONE

    def delete(self, key: Any, level: Any, deadline_s: Any) -> Exchange[bool]:
        """Remove an entry."""
        place = self._reads.place(key)
        result = yield from self._one(place, self.delete_operation(place), level, deadline_s)
        # What is deleted behind is always done; whether there was an entry is the number.
        return result.outcome == Outcome.DONE and (not self._config.writes_behind or result.number > 0)

    def touch(self, key: Any, ttl_s: Any, level: Any, deadline_s: Any) -> Exchange[bool]:
        """Give an entry a new time to live."""
        place = self._reads.place(key)
        operation = Operation(OperationKind.TOUCH, place.stored, ttl_ns=self._ttl_ns(ttl_s))
        result = yield from self._one(place, operation, level, deadline_s)
        return result.outcome == Outcome.DONE

    def increment(self, key: Any, by: Any, ttl_s: Any, level: Any, deadline_s: Any) -> Exchange[int | float]:
        """Add to a number."""
        place = self._reads.place(key)
        ttl_ns = -1 if ttl_s is REGION_TTL else self._ttl_ns(ttl_s)
        # A number that comes into being under a long key must carry it too.
        value, flags = _with_key(place, b"", 0)
        operation = Operation(
            OperationKind.INCREMENT, place.stored, value, flags=flags, delta=increment_of(by), ttl_ns=ttl_ns
        )
        result = yield from self._one(place, operation, level, deadline_s)
        if result.outcome == Outcome.NOT_A_NUMBER:
            raise NotANumberError(
                f"{key!r} holds no number that stays within 64 bits: set one, or delete the entry first"
            )
        return result.number

    def compare_and_set(
        self, key: Any, value: Any, expected: Any, ttl_s: Any, level: Any, deadline_s: Any, tags: Any = ()
    ) -> Exchange[Version]:
        """Write a value where the version is the expected one."""
        place = self._reads.place(key)
        version = expected_of(expected)
        operation = self.put_operation(place, value, ttl_s, OperationKind.COMPARE_AND_SET, version, tags=tags)
        result = yield from self._one(place, operation, level, deadline_s)
        if result.outcome != Outcome.DONE:
            current = Version(result.epoch, result.lsn) if result.lsn else None
            now = f"version {current}" if current else "no entry"
            text = f"{key!r} was expected at {tuple(version) if version.lsn else 'no entry'}, but there is {now}"
            raise VersionConflictError(f"{text}: read it again and decide anew", current=current)
        return Version(result.epoch, result.lsn)

    def invalidate_tag(
        self, part: ShardSession, tag: bytes, level: Level, deadline_at_s: float, *, soft: bool
    ) -> Exchange[int]:
        """Hide the entries of one shard that have a tag; return how many there were."""
        kind = OperationKind.EXPIRE_TAG if soft else OperationKind.INVALIDATE_TAG
        key = row_key(service_prefix(self._reads.service.encode()), tag)
        (result,) = yield from self._write(part, [Operation(kind, key)], level, deadline_at_s)
        return int(result.number)

    def delete_keys(self, part: ShardSession, stored: list[bytes], deadline_at_s: float) -> Exchange[int]:
        """Remove entries of one shard; return how many there were."""
        kind = OperationKind.DELETE if self._config.writer is None else OperationKind.FORGET
        operations = [Operation(kind, key) for key in stored]
        results = yield from self._write(part, operations, self._level(None), deadline_at_s)
        return sum(result.outcome == Outcome.DONE for result in results)

    def flush(self, part: ShardSession, deadline_at_s: float) -> Exchange[None]:
        """Send what waits for a shard, and wait for what is under way; what fails is counted as lost."""
        number = part.shard.number
        while self.weak.is_flying(number):
            if self._session.now_s() > deadline_at_s:
                raise DeadlineExceededError("earlier WEAK writes are still under way; nothing was written: try again")
            yield Pause(FLUSH_S, 0, wakes=False)
        operations = self.weak.take(number)
        if not operations:
            return
        lost_count = len(operations)
        try:
            lost_count -= len((yield from self._send(part, operations, Level.WEAK, deadline_at_s)))
        except CacheError:
            pass
        finally:
            self.weak.landed(number, lost_count)

    def delete_operation(self, place: Place) -> Operation:
        """Return the operation that removes an entry; the full key goes along, for an origin wants it."""
        value, flags = _with_key(place, b"", 0)
        return Operation(OperationKind.DELETE, place.stored, value, flags=flags)

    def put_operation(
        self,
        place: Place,
        value: Any,
        ttl_s: Any,
        kind: OperationKind = OperationKind.SET,
        expected: Version = UNSENT,
        flags: int = 0,
        cost_us: int = 0,
        tags: Any = (),
        priority: int = 0,
    ) -> Operation:
        """Return the operation that writes `value`, encoded; raises InvalidValueError and others."""
        codec, payload = encode(value, allow_pickle=self._config.allow_pickle)
        check_value_size(payload)
        if self._compress is not None:
            payload, flags = self._compress(codec, payload, flags)
        if tags != () and (packed := tags_bytes(tags)):
            payload, flags = pack_tags(packed) + payload, flags | Flag.TAGGED
        payload, flags = _with_key(place, payload, flags)
        return Operation(
            kind,
            place.stored,
            payload,
            codec,
            flags,
            self._ttl_ns(ttl_s),
            expected.epoch,
            expected.lsn,
            cost_us=cost_us,
            priority=priority,
        )

    def _ttl_ns(self, ttl_s: Any) -> int:
        if type(ttl_s) is Until:
            return ttl_ns_until(ttl_s, self._session.wall_ns())
        if ttl_s is REGION_TTL:
            ttl_s = self._config.ttl_s
        ttl_ns = ttl_ns_of(ttl_s)
        if ttl_ns and self._config.ttl_jitter_ratio:
            ttl_ns = max(1, int(ttl_ns * (1.0 - self._session.rng.random() * self._config.ttl_jitter_ratio)))
        return ttl_ns

    def _level(self, level: Any) -> Level:
        return self._reads.default_level if level is None else level_number(level)

    def _deadline(self, deadline_s: Any) -> float:
        return self._session.now_s() + deadline_of(deadline_s)

    def _one(self, place: Place, operation: Operation, level: Any, deadline_s: Any) -> Exchange[OperationResult]:
        number = self._level(level)
        (result,) = yield from self._write(place.part, [operation], number, self._deadline(deadline_s))
        if result.outcome == Outcome.CORRUPT:
            raise CorruptRecordError(f"the entry of {place.key!r} cannot be read: set it anew, or delete it")
        return result

    def _set_part(
        self, part: ShardSession, items: list[tuple[Any, Operation]], level: Level, deadline_at_s: float
    ) -> Exchange[dict[Any, Version]]:
        if level == Level.WEAK:
            self._session.check_open()
            items_left = [item for item in items if not self.weak.add(part.shard.number, item[1])]
            versions = {key: UNSENT for key, _ in items}
        else:
            items_left, versions = items, {}
        if items_left:
            results = yield from self._write(part, [operation for _, operation in items_left], level, deadline_at_s)
            for (key, _), result in zip(items_left, results, strict=True):
                versions[key] = Version(result.epoch, result.lsn)
        return versions

    def _write(
        self, part: ShardSession, operations: list[Operation], level: Level, deadline_at_s: float
    ) -> Exchange[list[OperationResult]]:
        weak = self.weak
        if not weak.is_idle() and (weak.shards() or weak.is_flying(part.shard.number)):
            yield from self.flush(part, deadline_at_s)
        if len(operations) == 1:
            answer = yield from self._message(part, operations, level, deadline_at_s)
            return answer.results
        return (yield from self._send(part, operations, level, deadline_at_s))

    def _send(
        self, part: ShardSession, operations: list[Operation], level: Level, deadline_at_s: float
    ) -> Exchange[list[OperationResult]]:
        results: list[OperationResult] = []
        for batch in _batches(operations, self._batch_bytes_max):
            answer = yield from self._message(part, batch, level, deadline_at_s)
            results.extend(answer.results)
        return results

    def _message(
        self, part: ShardSession, batch: list[Operation], level: Level, deadline_at_s: float
    ) -> Exchange[Written]:
        session = self._session
        sequences = part.sequences
        first = sequences.take(len(batch))
        region, number = part.shard

        def build(request_id: int) -> Write:
            return Write(request_id, region, number, batch, level, session.client, first, sequences.unanswered())

        size_bytes = sum(len(operation.value) for operation in batch)
        try:
            answer: Written
            answer, _ = yield from converse(
                session, part.shard, build, deadline_at_s, writes=True, size_bytes=size_bytes
            )
        finally:
            sequences.done(first)
        for result in reversed(answer.results):
            if result.lsn and result.outcome != VOID:
                part.token.observe(result.epoch, result.lsn)
                if result.outcome == DONE:
                    break  # the LSNs of one message rise, so this is the newest
        return answer


def _with_key(place: Place, payload: bytes, flags: int) -> tuple[bytes, int]:
    """Return payload and flags with the full key where the store key is only its digest."""
    if place.stored.endswith(place.key):
        return payload, flags
    return with_long_key(payload, place.key), flags | Flag.LONG_KEY


def _batches(operations: list[Operation], bytes_max: int) -> list[list[Operation]]:
    batches: list[list[Operation]] = [[]]
    size_bytes = 0
    for operation in operations:
        is_full = len(batches[-1]) == MESSAGE_OPERATIONS_MAX or size_bytes + len(operation.value) > bytes_max
        if batches[-1] and is_full:
            batches.append([])
            size_bytes = 0
        batches[-1].append(operation)
        size_bytes += len(operation.value)
    return batches
