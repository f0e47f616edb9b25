"""The data calls of a replica's actor handle: `ray.get(handle.get.remote(key))`.

A call costs a millisecond whatever it carries, so the batch forms are the ones to use. Semantics,
levels and errors are those of the sockets: the calls go through the same desk.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from daycache_ray.client.arguments import (
    REGION_TTL,
    check_value_size,
    expected_of,
    key_bytes,
    level_number,
    service_name,
    ttl_ns_of,
)
from daycache_ray.client.records import seen_of, with_long_key
from daycache_ray.codecs.compression import compressor_of
from daycache_ray.codecs.registry import decode, encode
from daycache_ray.structures.slots import shard_of_slot, slot_of
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.wire.failures import error_of
from daycache_ray.words.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotPrimaryError,
    UnknownOutcomeError,
    VersionConflictError,
)
from daycache_ray.words.limits import STORE_KEY_BYTES_MAX
from daycache_ray.words.operations import (
    Answer,
    Failure,
    Found,
    Level,
    Operation,
    OperationKind,
    OperationResult,
    Outcome,
    Read,
    Request,
    Write,
    Written,
)
from daycache_ray.words.records import Flag
from daycache_ray.words.types import Key, ShardId, ShardStatistics, Version

if TYPE_CHECKING:
    from daycache_ray.actors.requests import RequestDesk
    from daycache_ray.words.config import ClusterConfig, RegionConfig

CALL_S = 10.0


class _FutureCaller:
    """A coroutine that waits for one answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answer(self, answer: Answer) -> None:
        """Wake the coroutine."""
        if not self.future.done():
            self.future.set_result(answer)


class HandleCalls:
    """The part of `Replica` that other Ray code calls. Keys of other shards are refused, not forwarded."""

    _config: ClusterConfig
    _desk: RequestDesk | None
    _shard: ShardId | None

    def _region(self) -> RegionConfig:
        raise NotImplementedError

    def _statistics_fields(self) -> dict[str, Any]:
        raise NotImplementedError

    def _wake(self) -> None:
        raise NotImplementedError

    async def get(self, key: Key, default: Any = None, *, service: str = "default", level: Any = None) -> Any:
        """Return the value of `key`, or `default`; raises what `Region.get` raises."""
        found = await self.get_many([key], service=service, level=level)
        return found.get(key, default)

    async def get_many(self, keys: Iterable[Key], *, service: str = "default", level: Any = None) -> dict[Key, Any]:
        """Return those of `keys` that are there."""
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return {}
        prefix = self._prefix(service)
        stored = [self._stored(key_bytes(key), prefix) for key in wanted]
        shard = self._seated()
        answer = await self._ask(Read(0, shard.region, shard.number, stored, self._level(level)))
        assert isinstance(answer, Found)
        now_ns = time.time_ns()
        values = {}
        for key, record in zip(wanted, answer.records, strict=True):
            seen = None if record is None else seen_of(record, key_bytes(key), "primary", None)
            if seen is not None and not seen.is_negative and not seen.is_expired(now_ns):
                values[key] = decode(seen.codec, seen.plain_payload, allow_pickle=self._region().allow_pickle)
        return values

    async def set(
        self, key: Key, value: Any, *, ttl_s: Any = REGION_TTL, service: str = "default", level: Any = None
    ) -> Version:
        """Store a value; return its version."""
        return (await self.set_many({key: value}, ttl_s=ttl_s, service=service, level=level))[key]

    async def set_many(
        self, mapping: Mapping[Key, Any], *, ttl_s: Any = REGION_TTL, service: str = "default", level: Any = None
    ) -> dict[Key, Version]:
        """Store values; return their versions."""
        if not mapping:
            return {}
        operations = [self._put(OperationKind.SET, key, value, ttl_s, service) for key, value in mapping.items()]
        results = await self._write(operations, level)
        return {key: Version(result.epoch, result.lsn) for key, result in zip(mapping, results, strict=True)}

    async def delete(self, key: Key, *, service: str = "default", level: Any = None) -> bool:
        """Remove an entry; return whether there was one."""
        raw = key_bytes(key)
        stored = self._stored(raw, self._prefix(service))
        value, flags = (b"", 0) if stored.endswith(raw) else (with_long_key(b"", raw), int(Flag.LONG_KEY))
        result = (await self._write([Operation(OperationKind.DELETE, stored, value, flags=flags)], level))[0]
        return result.outcome == Outcome.DONE and (not self._region().writes_behind or result.number > 0)

    async def compare_and_set(
        self,
        key: Key,
        value: Any,
        expected: Version,
        *,
        ttl_s: Any = REGION_TTL,
        service: str = "default",
        level: Any = None,
    ) -> Version:
        """Store a value only where the entry's version is `expected`.

        Raises:
            VersionConflictError: it is not; `current` is the version that is there, or None.
        """
        epoch, lsn = expected_of(expected)
        operation = self._put(OperationKind.COMPARE_AND_SET, key, value, ttl_s, service, epoch, lsn)
        result = (await self._write([operation], level))[0]
        if result.outcome == Outcome.CONFLICT:
            current = Version(result.epoch, result.lsn) if result.lsn else None
            raise VersionConflictError(f"the entry has version {current}, not {tuple(expected)}", current=current)
        return Version(result.epoch, result.lsn)

    async def statistics(self) -> ShardStatistics:
        """Return this replica's counters, with `pid`, `node_id`, `role` and `epoch`."""
        self._seated()
        return ShardStatistics(**self._statistics_fields())

    def _put(
        self, kind: OperationKind, key: Key, value: Any, ttl_s: Any, service: str, epoch: int = 0, lsn: int = 0
    ) -> Operation:
        region = self._region()
        raw = key_bytes(key)
        codec, payload = encode(value, allow_pickle=region.allow_pickle)
        check_value_size(payload)
        prefix = self._prefix(service)
        compress = compressor_of(region.compression)
        payload, flags = (payload, 0) if compress is None else compress(codec, payload, 0)
        if 2 + len(prefix) + len(raw) > STORE_KEY_BYTES_MAX:
            payload, flags = with_long_key(payload, raw), flags | int(Flag.LONG_KEY)
        ttl_ns = ttl_ns_of(region.ttl_s if ttl_s is REGION_TTL else ttl_s)
        return Operation(kind, self._stored(raw, prefix), payload, codec, flags, ttl_ns, epoch, lsn)

    def _prefix(self, service: str) -> bytes:
        name = service_name(service, self._config)
        return service_prefix(b"" if self._region().shared_between_services else name.encode())

    def _stored(self, key: bytes, prefix: bytes) -> bytes:
        shard = self._seated()
        owner = shard_of_slot(slot_of(key), self._region().shards)
        if owner != shard.number:
            raise InvalidArgumentError(
                f"{key!r} belongs to {shard.region}/{owner}, this is {shard}: use region.shard_for(key)"
            )
        return store_key(key, prefix)

    def _level(self, level: Any) -> Level:
        return level_number(self._region().level if level is None else level)

    def _seated(self) -> ShardId:
        if self._shard is None or self._desk is None:
            raise NotPrimaryError("this actor holds no seat yet: fetch the cluster map")
        return self._shard

    async def _write(self, operations: list[Operation], level: Any) -> list[OperationResult]:
        shard = self._seated()
        # A call of its own client: Ray repeats none of ours (max_task_retries=0), so nothing repeats it.
        client = secrets.randbits(62) + 1
        request = Write(0, shard.region, shard.number, operations, self._level(level), client, 1, 1)
        answer = await self._ask(request)
        assert isinstance(answer, Written)
        return answer.results

    async def _ask(self, request: Request) -> Answer:
        desk = self._desk
        assert desk is not None
        caller = _FutureCaller()
        desk.take(caller, request, 0)
        self._wake()
        try:
            answer = await asyncio.wait_for(caller.future, CALL_S)
        except asyncio.TimeoutError:
            desk.forget(caller)
            if isinstance(request, Write):
                raise UnknownOutcomeError(f"no answer within {CALL_S:.0f} s: the write may still happen") from None
            raise DeadlineExceededError(f"no answer within {CALL_S:.0f} s") from None
        if isinstance(answer, Failure):
            raise error_of(answer)
        return answer
