"""What stands between a replica's doors and its machine: requests become inputs, effects become answers.

A caller is whoever asked: a socket's connection, or a coroutine of a Ray call. Answers may come turns
later; a caller that is gone is forgotten. Room for a write is made before the machine sees it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from typing import Any, Final, Protocol

from daycache_ray.actors.behind import WritesBehind, check_in_cache_alone, full_of_dirty, letters_answer
from daycache_ray.actors.clocks import read_clocks
from daycache_ray.actors.exporting import exported
from daycache_ray.actors.operation_checks import check_operations
from daycache_ray.storage.costs import expected_bytes
from daycache_ray.storage.fence_page import Fence
from daycache_ray.storage.sharing import Writer
from daycache_ray.storage.space import removals_that_fit
from daycache_ray.storage.store import Store
from daycache_ray.structures.eviction.shares import Promised
from daycache_ray.structures.store_keys import service_prefix, split_store_key
from daycache_ray.wire.failures import error_of, failure_of
from daycache_ray.words.effects import Answer as AnswerEffect
from daycache_ray.words.effects import AnswerFill, Effect, PublishFence, Refuse, Serve
from daycache_ray.words.errors import (
    BackpressureError,
    CacheError,
    CorruptRecordError,
    InvalidArgumentError,
    NotPrimaryError,
    RegionFullError,
    StoreFullError,
    ValueTooLargeError,
)
from daycache_ray.words.limits import BATCH_OPERATIONS_MAX
from daycache_ray.words.messages import Evict, FillAsked, FillFailed, FillStored, ReadAt, Submit
from daycache_ray.words.operations import (
    Accesses,
    Answer,
    AskLetters,
    AskStatistics,
    Failure,
    FillAnswer,
    FillAsk,
    FillFail,
    FillStore,
    Found,
    Hello,
    Operation,
    Read,
    Removed,
    Request,
    Scan,
    Scanned,
    StatisticsAnswer,
    TakeRemovals,
    Write,
    Written,
)
from daycache_ray.words.records import Flag
from daycache_ray.words.types import Instant, Role, ShardId

FULL_RATIO: Final = 0.95
"""Above this part of its budget a store evicts before it takes more."""

SLACK_BYTES: Final = 1_024
"""What one eviction frees beyond the need, so that not every write evicts: some four small entries, a tenth of a
millisecond. More would be a stop that somebody's write waits for, and frees nothing cheaper."""

VALUE_PART: Final = 4
"""One value takes at most this part of a shard: a larger one would throw out too many for its own sake."""

FREE_BYTES_MIN: Final = 16 * 1024 * 1024
"""Shared memory that stays free on the node whatever the regions' budgets say: beyond it is SIGBUS."""

UNCHECKED_BYTES_MAX: Final = 1024 * 1024
"""What is written before the node's free memory is looked at again; other shards write as much meanwhile."""

EVICT_COUNT_MAX: Final = 2_048
"""Victims of one write; whoever needs more tries again after them, and the shard's beacons go on meanwhile."""


class Caller(Protocol):
    """Whoever hears an answer."""

    def answer(self, answer: Answer) -> None:
        """Take the answer."""
        ...


class RequestDesk:
    """The requests of one replica that have no answer yet."""

    def __init__(
        self,
        shard: ShardId,
        store: Store,
        post: Callable[[Any], None],
        statistics: Callable[[], dict[str, Any]],
        *,
        evicts: bool,
        writes_through: bool = False,
    ) -> None:
        self._shard = shard
        self._store = store
        self._post = post
        self._statistics = statistics
        self._evicts = evicts
        self._writes_through = writes_through
        self.behind: WritesBehind | None = None
        """The write-behind of a primary."""
        self._tokens = count(1)
        self._waiting: dict[int, tuple[Caller, int, Any]] = {}
        self._limit_bytes = int(store.limit_bytes * FULL_RATIO)
        self._promised = Promised()
        self._coming_bytes = 0
        self._unchecked_bytes = UNCHECKED_BYTES_MAX
        self.clocks: Callable[[], Instant] = read_clocks
        self.writes_count = 0
        self.reads_count = 0
        self.loads_count = 0
        self.prefetched_count = 0
        self.evictions_count = 0

    def take(self, caller: Caller, request: Request, connection: int) -> None:
        """Take a request; raises the typed error that is its answer where it cannot be."""
        kind = type(request)
        if kind is not Hello and kind is not Accesses:
            region, shard = self._shard
            if request.shard != shard or request.region != region:  # type: ignore[union-attr]
                raise InvalidArgumentError(
                    f"this is {self._shard}, not {request.region}/{request.shard}: fetch the map"  # type: ignore[union-attr]
                )
        if kind is Read:
            self._read(caller, request)  # type: ignore[arg-type]
        elif kind is Write:
            self._write(caller, request)  # type: ignore[arg-type]
        elif kind is FillAsk:
            self._fill_ask(caller, request, connection)  # type: ignore[arg-type]
        elif kind is FillStore:
            self._fill_store(caller, request)  # type: ignore[arg-type]
        elif kind is FillFail:
            self._post(FillFailed(self._token(caller, request.id, None), request.number, request.message))  # type: ignore[union-attr]
        elif kind is Scan:
            self._scan(caller, request)  # type: ignore[arg-type]
        elif kind is TakeRemovals:
            self._take_removals(caller, request)  # type: ignore[arg-type]
        elif kind is AskLetters:
            caller.answer(letters_answer(self.behind, self._shard, request, self._post))  # type: ignore[arg-type]
        elif kind is AskStatistics:
            caller.answer(StatisticsAnswer(request.id, self._statistics()))  # type: ignore[union-attr]
        else:
            raise InvalidArgumentError(f"a replica does not answer {kind.__name__}")

    def forget(self, caller: Caller) -> None:
        """Drop what this caller waits for."""
        for token in [token for token, waiting in self._waiting.items() if waiting[0] is caller]:
            del self._waiting[token]

    def fail_all(self, error: CacheError) -> None:
        """Answer everything that waits with an error: the replica ends."""
        waiting, self._waiting = self._waiting, {}
        for caller, request_id, _ in waiting.values():
            caller.answer(failure_of(request_id, error))

    def prepare(self, effect: Serve, horizon_ns: int) -> tuple[Caller, Answer] | None:
        """Read what a Serve allows, now, inside the turn; its answer is sent after the commit.

        What is over at `horizon_ns`, the machine's, is shown to those who want stale entries only (R24).
        """
        waiting = self._waiting.pop(effect.token, None)
        if waiting is None:
            return None
        caller, request_id, read = waiting
        hidden_ns = 0 if read.stale else horizon_ns
        try:
            records = [exported(self._store, key, hidden_ns, stale=read.stale) for key in read.keys]
        except (CacheError, OSError) as error:
            # What one entry's file has become is its readers' trouble; the replica lives on.
            broken = CorruptRecordError(f"a stored value cannot be read: {error}; set it anew, or delete it")
            return caller, failure_of(request_id, broken)
        fence = self._store.fence.read()
        return caller, Found(request_id, records, fence.epoch, fence.applied_lsn, self._age_ns(fence))

    def _age_ns(self, fence: Fence | PublishFence) -> int:
        """Return how long ago everything was acknowledged that is missing here; 0: nothing is, -1: not known."""
        now_ns = self.clocks().boot_ns
        if fence.role == Role.PRIMARY:
            return max(0, now_ns - fence.lease_until_ns) if fence.lease_until_ns else -1
        return max(0, now_ns - fence.fresh_ns) if fence.fresh_ns else -1

    def reply(self, effect: Effect) -> None:
        """Answer the caller that an effect is about."""
        token: int = effect.token  # type: ignore[union-attr]
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return
        caller, request_id, _ = waiting
        if type(effect) is AnswerEffect:
            caller.answer(Written(request_id, list(effect.results)))
        elif type(effect) is AnswerFill:
            caller.answer(FillAnswer(request_id, effect.number, effect.error))
        elif type(effect) is Refuse:
            error = error_of(Failure(request_id, effect.error, effect.message, {}))
            caller.answer(failure_of(request_id, error))

    def _token(self, caller: Caller, request_id: int, read: Read | None) -> int:
        token = next(self._tokens)
        self._waiting[token] = (caller, request_id, read)
        return token

    def _read(self, caller: Caller, request: Read) -> None:
        self.reads_count += len(request.keys)
        token = self._token(caller, request.id, request)
        self._post(ReadAt(token, request.keys, request.level, request.session_epoch, request.session_lsn))

    def _write(self, caller: Caller, request: Write) -> None:
        if not 0 < len(request.operations) <= BATCH_OPERATIONS_MAX:
            raise InvalidArgumentError(
                f"a write has 1 to {BATCH_OPERATIONS_MAX} operations, not {len(request.operations)}"
            )
        if self._writes_through:
            check_in_cache_alone(request.operations, self._shard)
        check_operations(request.operations)
        self._make_room(request.operations)
        self.writes_count += len(request.operations)
        self._post(
            Submit(
                self._token(caller, request.id, None),
                request.operations,
                request.level,
                request.client,
                request.first_sequence,
                request.unanswered_sequence,
            )
        )

    def _fill_ask(self, caller: Caller, request: FillAsk, connection: int) -> None:
        deadline_ns = self.clocks().boot_ns + max(1, request.deadline_ms) * 1_000_000
        token = self._token(caller, request.id, None)
        self._post(FillAsked(token, connection, request.key, deadline_ns, request.wait, request.refresh, request.write))

    def _fill_store(self, caller: Caller, request: FillStore) -> None:
        check_operations([request.operation])
        self._make_room([request.operation])
        self.loads_count += 1
        if request.operation.flags & Flag.PREFETCHED:
            self.prefetched_count += 1
        token = self._token(caller, request.id, None)
        self._post(
            FillStored(token, request.number, request.operation, request.client, request.sequence, request.level)
        )

    def _scan(self, caller: Caller, request: Scan) -> None:
        horizon_ns = self._store.fence.read().horizon_ns
        limit = max(1, min(request.limit, BATCH_OPERATIONS_MAX))
        service = request.service.encode()
        keys, cursor = self._store.scan(service, request.prefix, request.cursor, limit, horizon_ns)
        caller.answer(Scanned(request.id, keys, cursor))

    def _take_removals(self, caller: Caller, request: TakeRemovals) -> None:
        if self._store.fence.read().role != Role.PRIMARY:
            raise NotPrimaryError(f"this replica of {self._shard} is not primary: fetch the cluster map")
        removals = self._store.removals
        if request.count_max <= 0:
            removals.forget(request.follower)
            caller.answer(Removed(request.id, [], False, request.given_count, 0))
            return
        owner = service_prefix(request.service.encode())
        count_max = min(request.count_max, BATCH_OPERATIONS_MAX)
        now_ns = self.clocks().boot_ns
        taken = removals.take(request.follower, owner, request.causes, request.given_count, count_max, now_ns)
        caller.answer(Removed(request.id, *taken))

    def turned(self) -> None:
        """Everything that was posted so far has been done."""
        if self._coming_bytes:
            self._coming_bytes = 0
            self._promised.clear()

    def _make_room(self, operations: list[Operation]) -> None:
        store = self._store
        needed = 0
        for operation in operations:
            size = expected_bytes(operation.key, operation.value)
            if size * VALUE_PART > store.limit_bytes:
                text = f"{size} bytes are more than a quarter of {self._shard}, which has {store.limit_bytes}"
                raise ValueTooLargeError(f"{text}: give the region more memory_bytes or fewer shards")
            needed += size
        limit = self._limit_bytes
        if needed > limit:
            text = f"{needed} bytes do not fit into {self._shard}, which has {store.limit_bytes}"
            raise ValueTooLargeError(f"{text}: write fewer at a time, or give the region more memory_bytes")
        service = split_store_key(operations[0].key)[0]
        if not self._evicts:
            limit -= store.reserved_bytes(service)
        excess = store.used_bytes + self._coming_bytes - self._promised.total_bytes + needed - limit
        if excess > 0:
            self._evict(excess, needed, service)
        self._coming_bytes += needed
        self._unchecked_bytes += needed
        if self._unchecked_bytes > UNCHECKED_BYTES_MAX:
            self._check_node(needed)

    def _free_bytes(self) -> int:
        disk = os.statvfs(self._store.directory)
        return disk.f_bavail * disk.f_frsize

    def _check_node(self, needed: int) -> None:
        free = self._free_bytes()
        if free < needed + FREE_BYTES_MIN:
            raise StoreFullError(
                f"the node's shared memory has {free} bytes left, too few for {needed} more: make it larger "
                "(docker run --shm-size, mount -o remount,size=…) or lower the regions' memory_bytes"
            )
        self._unchecked_bytes = 0

    def _evict(self, excess: int, needed: int, service: bytes) -> None:
        store = self._store
        who = service.decode(errors="replace") or "this region"
        if not self._evicts:
            raise RegionFullError(
                f"{self._shard} is full for '{who}', and a strong region evicts nothing by itself: delete, set TTLs, "
                "or give it more memory_bytes"
            )
        # Evicting touches pages too: where little is left, fewer at a time, or the turn itself would not fit.
        count_max = min(EVICT_COUNT_MAX, removals_that_fit(self._free_bytes()))
        before = self._promised.total_bytes
        writer = Writer(service, needed, self._promised)
        victims = store.victims(excess + SLACK_BYTES, count_max, writer)
        missing = excess - (self._promised.total_bytes - before)
        if missing > 0 and len(victims) < count_max and store.dirty_count:
            raise full_of_dirty(self._shard)
        if missing > 0 and len(victims) < count_max:
            raise RegionFullError(
                f"{self._shard} is full, and for the {needed} bytes of '{who}' nothing more may be evicted: the rest "
                "is what services are guaranteed. Delete, raise the region's memory_bytes, or lower a service's"
            )
        self.evictions_count += len(victims)
        self._coming_bytes += 1  # `turned` sees that something was posted
        self._post(Evict(tuple(victims)))
        if missing > store.limit_bytes - self._limit_bytes and count_max == EVICT_COUNT_MAX:
            raise BackpressureError(f"{self._shard} makes room for {needed} bytes, {missing} are missing: try again")
