"""A shard's writes that its origin has not got: batches out of the store, values for the writer, what became of them.

What waits is in the store, when it is tried is decided by `protocol/write_behind.py`. Here the two meet and values
are decoded. The caller calls the writer, in whatever thread; nothing here waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from daycache_ray.client.arguments import key_text
from daycache_ray.codecs.compression import COMPRESSED, decompressed
from daycache_ray.codecs.registry import decode
from daycache_ray.protocol.write_behind import Item, WriteBehind, WriteBehindSettings
from daycache_ray.structures.store_keys import service_prefix, split_store_key
from daycache_ray.structures.tags import value_start
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import (
    BackpressureError,
    CacheError,
    CorruptRecordError,
    InvalidArgumentError,
    NotPrimaryError,
    PermanentWriteError,
)
from daycache_ray.words.messages import OriginHas
from daycache_ray.words.operations import AskLetters, LettersAction, LettersAnswer, Operation, OperationKind
from daycache_ray.words.ports import MISSING
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag
from daycache_ray.words.types import ShardId

ERROR_TEXT_MAX: Final = 2_000
WHOLE_LOG: Final = (1 << 63) - 1
RETRY_AFTER_S: Final = 0.05
"""When a store full of what waits for its origin may have room again."""

IN_CACHE_ALONE: Final = frozenset({int(OperationKind.TOUCH), int(OperationKind.FORGET)})
"""Operations that are nothing to an origin."""

Letter: TypeAlias = tuple[bytes, int, int, str, int, bytes]
"""A dead letter as it travels, see operations.LettersAnswer; the record's payload is inline."""


class Batch(NamedTuple):
    """What the writer is called with; `problem` in its place where a value cannot be read at all."""

    values: dict[str, Any]
    problem: CacheError | None = None


class WritesBehind:
    """One primary's part in one shard's write-behind; made anew when the replica becomes primary again."""

    def __init__(self, store: Any, region: RegionConfig, now_ns: int, rng: random.Random) -> None:
        assert region.write_behind_s is not None
        self._store = store
        self._allow_pickle = region.allow_pickle
        hold_until_ns = now_ns + int(region.write_deadline_s * 1e9) if store.dirty_count else 0
        self.machine = WriteBehind(WriteBehindSettings(int(region.write_behind_s * 1e9)), rng, hold_until_ns)

    def next_batch(self, held_lsn: int, now_ns: int) -> Batch | None:
        """Return what the writer should be called with now, or None.

        `held_lsn`: only what every member of the in-sync set holds goes out, for it can never be undone.
        """
        machine, store = self.machine, self._store
        if not store.dirty_count:
            return None
        machine.note(held_lsn, now_ns)
        count = machine.wanted_count(now_ns)
        if not count:
            return None
        waiting = store.written_behind(0, held_lsn, count)
        records = {key: record for _, key, record in waiting}
        items = [Item(key, HEADER.unpack_from(record)[0], lsn) for lsn, key, record in waiting]
        taken = machine.take(items, now_ns)
        if not taken:
            return None
        values: dict[str, Any] = {}
        try:
            for item in taken:
                key, value = value_of(item.key, records[item.key], allow_pickle=self._allow_pickle)
                # Keys of two services may be one key of the origin: the later one stays, and stands last.
                values.pop(key, None)
                values[key] = value
        except CacheError as error:
            return Batch({}, PermanentWriteError(f"its value cannot be read where the cache writes: {error}"))
        return Batch(values)

    def ended(self, problem: BaseException | None, now_ns: int) -> OriginHas | None:
        """Take how the writer's call ended; return what the replica's machine is to hear."""
        if problem is None:
            return OriginHas(tuple((item.key, item.epoch, item.lsn) for item in self.machine.succeeded()))
        text = str(problem)[:ERROR_TEXT_MAX]
        self.machine.failed(text, now_ns, is_permanent=isinstance(problem, PermanentWriteError))
        return None

    def age_s(self, now_ns: int) -> float:
        """Return how long the oldest has waited."""
        oldest = self._store.written_behind(0, WHOLE_LOG, 1)
        return self.machine.age_ns(oldest[0][0], now_ns) / 1e9 if oldest else 0.0

    def letters(self) -> list[Letter]:
        """Return the dead letters that are still so."""
        found: list[Letter] = []
        for key, dead in self.machine.dead.items():
            record = self._store.get(key)
            if record is not None and HEADER.unpack_from(record)[:2] == (dead.item.epoch, dead.item.lsn):
                header = HEADER.unpack_from(record)
                whole = HEADER.pack(*header[:6], header[6] & ~Flag.LARGE, header[7]) + (self._store.payload(key) or b"")
                found.append((key, dead.item.epoch, dead.item.lsn, dead.error, dead.attempts_count, whole))
        return found

    def retry(self, keys: Sequence[bytes]) -> int:
        """Try dead letters again; return how many there were."""
        return self.machine.retry(keys)

    def drop(self, keys: Sequence[bytes]) -> OriginHas:
        """Give dead letters up; return what the replica's machine is to hear."""
        return OriginHas(tuple((item.key, item.epoch, item.lsn) for item in self.machine.drop(keys)))


def letters_answer(
    behind: WritesBehind | None, shard: ShardId, request: AskLetters, post: Callable[[Any], None]
) -> LettersAnswer:
    """Do what is wanted of a primary's dead letters; raises NotPrimaryError where nothing is written behind here."""
    if behind is None:
        raise NotPrimaryError(f"this replica writes nothing behind for {shard}: fetch the cluster map")
    if request.action == LettersAction.LIST:
        prefix = service_prefix(request.service.encode())
        return LettersAnswer(request.id, [letter for letter in behind.letters() if letter[0][2:].startswith(prefix)], 0)
    if request.action == LettersAction.RETRY:
        return LettersAnswer(request.id, [], behind.retry(request.keys))
    dropped = behind.drop(request.keys)
    post(dropped)
    return LettersAnswer(request.id, [], len(dropped.items))


def check_in_cache_alone(operations: Sequence[Operation], shard: ShardId) -> None:
    """Raise for a plain write of a write-through region: its origin would not hear of it."""
    if any(operation.kind not in IN_CACHE_ALONE for operation in operations):
        raise InvalidArgumentError(f"{shard} writes through, which its clients do: use cache.region('{shard.region}')")


def full_of_dirty(shard: ShardId) -> BackpressureError:
    """Return the error of a write that finds no room beside what waits for its origin."""
    text = f"{shard} is full of what its origin has not got yet: try again in a moment"
    return BackpressureError(text, retry_after_s=RETRY_AFTER_S)


def value_of(stored: bytes, record: bytes, *, allow_pickle: bool) -> tuple[str, Any]:
    """Return a dirty record's user key, as a writer sees it, and its value, MISSING for a delete.

    Raises:
        CacheError: no codec here reads it.
    """
    header = HEADER.unpack_from(record)
    codec, flags = header[5], header[6]
    payload = record[HEADER_BYTES:]
    key = split_store_key(stored)[1]
    if flags & Flag.LONG_KEY:
        key = payload[2 : 2 + int.from_bytes(payload[:2], "little")]
    try:
        payload = payload[value_start(flags, payload) :]
    except ValueError as error:
        raise CorruptRecordError(f"what is to be written of {key[:80]!r} cannot be read: {error}") from None
    text = str(key_text(key))
    if flags & Flag.NEGATIVE:
        return text, MISSING
    return text, decode(codec, decompressed(payload) if flags & COMPRESSED else payload, allow_pickle=allow_pickle)
