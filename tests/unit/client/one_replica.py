"""A replica in a dict, and a driver that asks it without sockets or waiting: what the client's tests talk to.

It answers requests as words/operations.py describes them, so a test sees the client's half alone. Time is a
number that pauses move.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from daycache_ray.client.exchanges import Call, Exchange, Finish, Load, Spawn, Step, Tell, Unfinished
from daycache_ray.client.region import Region
from daycache_ray.client.region_core import RegionCore
from daycache_ray.client.router import Router
from daycache_ray.client.session import Session
from daycache_ray.client.weak_writes import WeakWrites
from daycache_ray.codecs.registry import decode, encode
from daycache_ray.structures.store_keys import service_prefix
from daycache_ray.words.cluster_map import ClusterMap, MemberAddress, ShardMap
from daycache_ray.words.config import ClusterConfig, RegionConfig
from daycache_ray.words.errors import CacheError
from daycache_ray.words.operations import (
    FillAnswer,
    FillAsk,
    FillFail,
    FillStore,
    Found,
    Operation,
    OperationKind,
    OperationResult,
    Outcome,
    Read,
    Request,
    Scan,
    Scanned,
    Write,
    Written,
)
from daycache_ray.words.records import HEADER, Codec, Flag
from daycache_ray.words.types import ShardId


def member(seat: int, *, node_id: str = "far", directory: str = "", in_sync: bool = True) -> MemberAddress:
    """Return the address of a member nobody listens at."""
    return MemberAddress(seat, 1, in_sync, f"actor-{seat}", node_id, 1, directory, f"{seat}.socket", "localhost", 1)


def cluster_map(
    *regions: RegionConfig, version: int = 1, members: tuple[MemberAddress, ...] | None = None, primary_seat: int = 0
) -> ClusterMap:
    """Return a map in which every shard has the same members."""
    config = ClusterConfig(name="shop", regions=regions)
    members = members if members is not None else (member(0), member(1))
    shards = {
        region.name: tuple(ShardMap(ShardId(region.name, n), 1, primary_seat, members) for n in range(region.shards))
        for region in regions
    }
    return ClusterMap(version, "shop", "1", "secret", "/nowhere", config, shards)


class OneReplica:
    """Primary of all shards. `script` holds errors to answer the next calls with; None lets one pass."""

    def __init__(self) -> None:
        self.wall_ns = time.time_ns()
        self.epoch = 1
        self.lsn = 0
        self.age_ns = -1
        """How old it says that its answers are."""
        self.records: dict[tuple[int, bytes], bytes] = {}
        self.answered: dict[tuple[int, int, int], OperationResult] = {}
        self.requests: list[tuple[int, Request]] = []
        self.script: list[CacheError | None] = []
        self.fills: dict[bytes, int] = {}
        self.fill_answers: list[FillAnswer] = []
        """Answers to the next FillAsks, instead of the right ones."""
        self.told: list[Request] = []

    def answer(self, seat: int, request: Request) -> Any:
        """Return the answer to a request."""
        self.requests.append((seat, request))
        if self.script:
            error = self.script.pop(0)
            if error is not None:
                raise error
        if isinstance(request, Read):
            records = [
                self.records.get((request.shard, key)) if request.stale else self.visible(request.shard, key)
                for key in request.keys
            ]
            return Found(request.id, records, self.epoch, self.lsn, self.age_ns)
        if isinstance(request, Write):
            results = [
                self.apply(request.shard, operation, request.client, request.first_sequence + i)
                for i, operation in enumerate(request.operations)
            ]
            return Written(request.id, results)
        if isinstance(request, FillAsk):
            return self._fill_ask(request)
        if isinstance(request, FillStore):
            if self.fills.get(request.operation.key) != request.number:
                return Written(request.id, [OperationResult(Outcome.VOID)])
            return Written(request.id, [self.apply(request.shard, request.operation, request.client, request.sequence)])
        assert isinstance(request, Scan), request
        prefix = service_prefix(request.service.encode()) + request.prefix
        keys = sorted(key for shard, key in self.records if shard == request.shard and key[2:].startswith(prefix))
        page = [key for key in keys if key > request.cursor][: request.limit]
        cursor = page[-1] if page and page[-1] != keys[-1] else b""
        return Scanned(request.id, [self.user_key(request.shard, key) for key in page], cursor)

    def apply(self, shard: int, operation: Operation, client: int, sequence: int) -> OperationResult:
        """Apply one operation once."""
        known = self.answered.get((shard, client, sequence))
        if known is None:
            known = self.answered[shard, client, sequence] = self._apply(shard, operation)
        return known

    def user_key(self, shard: int, key: bytes) -> bytes:
        """Return the key as its user wrote it."""
        record = self.records[shard, key]
        if HEADER.unpack_from(record)[6] & Flag.LONG_KEY:
            return record[42 : 42 + int.from_bytes(record[40:42], "little")]
        return key[3 + key[2] :]

    def visible(self, shard: int, key: bytes) -> bytes | None:
        """Return the record that is there now."""
        record = self.records.get((shard, key))
        if record is not None and 0 < HEADER.unpack_from(record)[2] <= self.wall_ns:
            return None
        return record

    def _apply(self, shard: int, operation: Operation) -> OperationResult:
        current = self.visible(shard, operation.key)
        header = None if current is None else HEADER.unpack_from(current)
        is_there = header is not None and not header[6] & Flag.NEGATIVE
        kind = operation.kind
        if kind == OperationKind.ADD and is_there:
            return OperationResult(Outcome.NOT_DONE)
        if kind in (OperationKind.DELETE, OperationKind.TOUCH) and not is_there:
            return OperationResult(Outcome.NOT_DONE)
        if kind == OperationKind.COMPARE_AND_SET:
            now = header[:2] if header is not None and is_there else (0, 0)
            if now != (operation.expected_epoch, operation.expected_lsn):
                return OperationResult(Outcome.CONFLICT, *now)
        codec, value, number = operation.codec, operation.value, 0
        expires_ns = self.wall_ns + operation.ttl_ns if operation.ttl_ns > 0 else 0
        if kind == OperationKind.INCREMENT:
            old = 0 if current is None or header is None else decode(header[5], self._value(current))
            if isinstance(old, bool) or not isinstance(old, (int, float)):
                return OperationResult(Outcome.NOT_A_NUMBER)
            number = old + operation.delta
            codec, value = encode(number)
            value = operation.value + value
            expires_ns = header[2] if operation.ttl_ns < 0 and header is not None else expires_ns
        elif kind == OperationKind.TOUCH:
            assert current is not None
            assert header is not None
            codec, value = header[5], current[40:]
        self.lsn += 1
        self.fills.pop(operation.key, None)
        if kind == OperationKind.DELETE:
            del self.records[shard, operation.key]
        else:
            flags = operation.flags if kind != OperationKind.TOUCH or header is None else header[6]
            flags &= ~Flag.NEGATIVE if kind == OperationKind.INCREMENT else ~0
            packed = HEADER.pack(self.epoch, self.lsn, expires_ns, 0, operation.cost_us, codec, flags, 0)
            self.records[shard, operation.key] = packed + value
        return OperationResult(Outcome.DONE, self.epoch, self.lsn, number)

    def _value(self, record: bytes) -> bytes:
        is_long = HEADER.unpack_from(record)[6] & Flag.LONG_KEY
        return record[42 + int.from_bytes(record[40:42], "little") if is_long else 40 :]

    def _fill_ask(self, request: FillAsk) -> FillAnswer:
        if self.fill_answers:
            return self.fill_answers.pop(0)
        if self.visible(request.shard, request.key) is not None and not request.refresh:
            return FillAnswer(request.id, 0)
        if request.key in self.fills:
            return FillAnswer(request.id, -1)
        self.fills[request.key] = len(self.requests)
        return FillAnswer(request.id, len(self.requests))


class Driver:
    """Performs exchanges at once; time passes only in pauses."""

    def __init__(self, replica: OneReplica) -> None:
        self.replica = replica
        self.now_s = 0.0
        self.pauses: list[float] = []
        self.on_pause: Callable[[], None] = lambda: None
        self.spawned: list[Exchange[None]] = []
        """What was begun behind an answer; `run_spawned` performs it."""

    def run(self, exchange: Exchange[Any]) -> Any:
        """Perform an exchange to its end."""
        try:
            step = next(exchange)
            while True:
                try:
                    outcome = self._perform(step)
                except BaseException as error:
                    step = exchange.throw(error)
                else:
                    step = exchange.send(outcome)
        except StopIteration as done:
            return done.value

    def run_spawned(self) -> int:
        """Perform what was begun behind answers; return how much that was."""
        spawned, self.spawned = self.spawned, []
        for exchange in spawned:
            try:
                self.run(exchange)
            except CacheError:
                pass
        return len(spawned)

    def run_all(self, exchanges: Iterable[Exchange[dict[Any, Any]]]) -> dict[Any, Any]:
        """Perform exchanges that each give a part of a dict."""
        merged: dict[Any, Any] = {}
        for exchange in exchanges:
            merged.update(self.run(exchange))
        return merged

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Call):
            return self.replica.answer(step.member.seat, step.build(7))
        if isinstance(step, Tell):
            request = step.build(7)
            self.replica.told.append(request)
            if isinstance(request, FillFail):
                self.replica.fills = {k: n for k, n in self.replica.fills.items() if n != request.number}
            return None
        if isinstance(step, Load):
            started_s = self.now_s
            outcome: Any = None
            try:
                outcome = step.loader.load_many(step.keys)
            except CacheError as error:
                outcome = error
            is_late = step.soft_s is not None and self.now_s - started_s > step.soft_s
            return Unfinished(step, outcome) if is_late else _raised(outcome)
        if isinstance(step, Finish):
            return _raised(step.unfinished.work)
        if isinstance(step, Spawn):
            self.spawned.append(step.exchange)
            return None
        self.pauses.append(step.seconds)
        self.now_s += step.seconds
        self.on_pause()
        return None


def _raised(outcome: Any) -> Any:
    if isinstance(outcome, CacheError):
        raise outcome
    return outcome


class Stage:
    """A region over one replica, and the handles that tests pull."""

    def __init__(self, config: RegionConfig | None = None, *, service: str = "default") -> None:
        self.config = config if config is not None else RegionConfig(name="orders")
        self.replica = OneReplica()
        self.driver = Driver(self.replica)
        self.wakes: list[bool] = []
        self.session = Session(Router(cluster_map(self.config), "here"), service, now_s=lambda: self.driver.now_s)
        self.session.rng = random.Random(1)
        self.weak = WeakWrites(self.wakes.append)
        self.core = RegionCore(self.session, self.config, self.weak)
        self.region = Region(self.core, self.driver)  # type: ignore[arg-type]

    def other(self, service: str) -> Region:
        """Return the same region for another service."""
        session = Session(self.session.router, service, now_s=lambda: self.driver.now_s)
        core = RegionCore(session, self.config, WeakWrites(self.wakes.append))
        return Region(core, self.driver)  # type: ignore[arg-type]


__all__ = ["Codec", "Driver", "OneReplica", "Stage", "cluster_map", "member"]
