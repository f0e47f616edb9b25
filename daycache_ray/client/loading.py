"""Read-through: one load per missing key in the whole cluster, by fill leases of the shard's primary.

Whoever is granted a key loads it, stores it under its token and has the value in any case; a write,
a delete or the deadline voids the token, and then nothing is stored (R32). The others wait and share
value or error. Decides; neither sends nor loads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from daycache_ray.client.arguments import DEADLINE_S, deadline_of, key_text
from daycache_ray.client.exchanges import Exchange, Load, Tell, ask, converse
from daycache_ray.client.region_reads import Place, RegionReads
from daycache_ray.client.region_writes import RegionWrites
from daycache_ray.origins.loading import KeyLoader, resolve_loader
from daycache_ray.words.cluster_map import MemberAddress
from daycache_ray.words.errors import CacheError, DeadlineExceededError, LoadError, NoLoaderError
from daycache_ray.words.operations import FillAnswer, FillAsk, FillFail, FillStore, Level, Operation
from daycache_ray.words.records import Flag

NOT_THERE: Final = "\0the origin has no such key"
"""What a holder says instead of an error when its origin lacks the key: those who wait get their default."""

LOADER_MESSAGE_MAX: Final = 2_000
"""Characters of a loader's error that waiters are told."""


class RegionLoads:
    """Loads of one region by one session."""

    def __init__(self, reads: RegionReads, writes: RegionWrites) -> None:
        self._reads = reads
        self._writes = writes
        self._session = reads.session
        self._config = reads.config
        self._own: KeyLoader | None = None

    def one(
        self, key: Any, loader: Any, default: Any, ttl_s: Any, level: Any, deadline_s: Any, *, counted: bool = False
    ) -> Exchange[Any]:
        """Return the value of `key`, loaded where it is missing; `default` where the origin lacks it.

        `counted`: the face has found it missing in shared memory, and noted that access.
        """
        reads, session = self._reads, self._session
        place = reads.place(key)
        origin = self._loader(loader)
        deadline_at_s = session.now_s() + deadline_of(deadline_s, self._config.load_deadline_s + DEADLINE_S)
        seen = yield from reads.seen(key, level, deadline_at_s, counts=not counted)
        if seen is None:
            reads.wake_stream()
        while True:
            if seen is not None:
                return default if seen.is_negative else reads.decode(seen)
            answer, member = yield from self._fill_ask(place, deadline_at_s, wait=True)
            if answer.error == NOT_THERE:
                return default
            if answer.error:
                raise LoadError(f"the loader of another caller failed for {key!r}: {answer.error}")
            if answer.number > 0:
                loaded = yield from self._load([(key, place, answer.number, member)], origin, ttl_s, deadline_at_s)
                return loaded.get(key, default)
            if session.now_s() > deadline_at_s:
                raise DeadlineExceededError(f"{key!r} was not loaded in time: give the call more time with deadline_s")
            # Stored or voided by now: ask the primary, other copies may not have it yet.
            (seen,) = yield from reads.far(place.part, [place], reads.default_level or Level.EVENTUAL, deadline_at_s)

    def many(
        self, keys: Iterable[Any], loader: Any, ttl_s: Any, level: Any, deadline_s: Any
    ) -> Exchange[dict[Any, Any]]:
        """Return the values that there are; all missing ones that nobody loads are one question to the origin."""
        reads, session = self._reads, self._session
        origin = self._loader(loader)
        deadline_at_s = session.now_s() + deadline_of(deadline_s, self._config.load_deadline_s + DEADLINE_S)
        found: dict[Any, Any] = {}
        missing: dict[bytes, Any] = {}
        for key in dict.fromkeys(keys):
            seen = yield from reads.seen(key, level, deadline_at_s)
            if seen is None:
                missing.setdefault(reads.place(key).stored, key)
            elif not seen.is_negative:
                found[key] = reads.decode(seen)
        if missing:
            reads.wake_stream()
        held: list[tuple[Any, Place, int, MemberAddress]] = []
        others = []
        try:
            for key in missing.values():
                place = reads.place(key)
                answer, member = yield from self._fill_ask(place, deadline_at_s, wait=False)
                if answer.number > 0:
                    held.append((key, place, answer.number, member))
                else:
                    others.append(key)
        except BaseException:
            for _, place, number, member in held:
                yield self._failure(place, number, member, "the caller gave up before it loaded")
            raise
        if held:
            found.update((yield from self._load(held, origin, ttl_s, deadline_at_s)))
        # Only now, with no token in hand: two callers that hold and wait could wait for each other.
        for key in others:
            left_s = max(0.001, deadline_at_s - session.now_s())
            value = yield from self.one(key, origin, _NOTHING, ttl_s, level, left_s, counted=True)
            if value is not _NOTHING:
                found[key] = value
        return found

    def _load(
        self, held: list[tuple[Any, Place, int, MemberAddress]], loader: KeyLoader, ttl_s: Any, deadline_at_s: float
    ) -> Exchange[dict[Any, Any]]:
        session = self._session
        texts = {key: str(key_text(place.key)) for key, place, _, _ in held}
        started_s = session.now_s()
        limit_s = max(0.001, min(self._config.load_deadline_s, deadline_at_s - started_s))
        left = list(held)
        try:
            values = yield Load(loader, tuple(texts.values()), limit_s)
            cost_us = min(2**32 - 1, int((session.now_s() - started_s) * 1e6 / len(held)))
            loaded = {}
            while left:
                key, place, number, member = left[0]
                if texts[key] in values:
                    loaded[key] = values[texts[key]]
                    operation = self._writes.put_operation(place, loaded[key], ttl_s, cost_us=cost_us)
                    yield from self._store(place, number, operation, deadline_at_s)
                elif self._config.negative_ttl_s is not None:
                    operation = self._writes.put_operation(
                        place, None, self._config.negative_ttl_s, flags=Flag.NEGATIVE
                    )
                    yield from self._store(place, number, operation, deadline_at_s)
                else:
                    yield self._failure(place, number, member, NOT_THERE)
                left.pop(0)
            return loaded
        except BaseException as error:
            for _, place, number, member in left:
                yield self._failure(place, number, member, str(error)[:LOADER_MESSAGE_MAX] or type(error).__name__)
            raise

    def _store(self, place: Place, number: int, operation: Operation, deadline_at_s: float) -> Exchange[None]:
        sequences = place.part.sequences
        sequence = sequences.take(1)
        region, shard = place.part.shard

        def build(request_id: int) -> FillStore:
            return FillStore(request_id, region, shard, number, operation, self._session.client, sequence)

        try:
            answer = yield from ask(
                self._session, place.part.shard, build, deadline_at_s, writes=True, size_bytes=len(operation.value)
            )
            for result in answer.results:
                if result.lsn:
                    place.part.token.observe(result.epoch, result.lsn)
        except CacheError:
            # The caller has its value all the same; the next one loads again.
            pass
        finally:
            sequences.done(sequence)

    def _fill_ask(
        self, place: Place, deadline_at_s: float, *, wait: bool
    ) -> Exchange[tuple[FillAnswer, MemberAddress]]:
        session = self._session
        region, shard = place.part.shard
        load_ms = max(1, int(self._config.load_deadline_s * 1000))

        def build(request_id: int) -> FillAsk:
            return FillAsk(request_id, region, shard, place.stored, load_ms, wait)

        answer: tuple[FillAnswer, MemberAddress] = yield from converse(
            session, place.part.shard, build, deadline_at_s, patient=wait, undo=_give_back(region, shard)
        )
        return answer

    def _failure(self, place: Place, number: int, member: MemberAddress, message: str) -> Tell:
        region, shard = place.part.shard
        return Tell(member, lambda request_id: FillFail(request_id, region, shard, number, message))

    def _loader(self, loader: Any) -> KeyLoader:
        if loader is not None:
            return resolve_loader(loader)
        if self._config.loader is None:
            raise NoLoaderError(
                f"region '{self._config.name}' has no loader: give one to the call or to its RegionConfig"
            )
        if self._own is None:
            self._own = resolve_loader(self._config.loader)
        return self._own


class _Nothing:
    """The type of _NOTHING, a default that is no value."""


_NOTHING: Final = _Nothing()


def _give_back(region: str, shard: int) -> Any:
    """Return what makes of a late grant the message that gives it back."""

    def undo(answer: Any) -> Any:
        if type(answer) is not FillAnswer or answer.number <= 0:
            return None
        number = answer.number
        return lambda request_id: FillFail(
            request_id, region, shard, number, "the caller gave up before it was its turn"
        )

    return undo
