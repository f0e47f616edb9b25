"""Write-through: the origin first, then the cache, and one writer at a time for each key in the whole cluster.

Two writers of a key without order could leave one value in the origin and the other in the cache: A writes the
origin, B writes the origin, B sets the cache, A sets the cache. So whoever writes first gets the key's right from the
shard's primary, the same that loaders get; a loader that has it loses it, another writer waits. Where a right was
lost meanwhile, by a failover, both writes are done once more. Where its holder ended in between, the primary removes
the entry, because nobody knows what the origin has (W2).

Decides; neither sends nor writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from daycache_ray.client.arguments import REGION_TTL, expected_of, increment_of, priority_number
from daycache_ray.client.exchanges import Exchange, Load, ask
from daycache_ray.client.fill_calls import FillCalls, Held
from daycache_ray.client.records import Seen
from daycache_ray.client.region_reads import Place, RegionReads
from daycache_ray.client.region_writes import RegionWrites
from daycache_ray.client.weak_writes import WeakWrites
from daycache_ray.origins.loading import KeyLoader
from daycache_ray.origins.writing import KeyWriter, resolve_writer
from daycache_ray.words.errors import (
    CacheError,
    DeadlineExceededError,
    LoadError,
    NotANumberError,
    UnavailableError,
    UnknownOutcomeError,
    VersionConflictError,
    WriteError,
)
from daycache_ray.words.operations import FillStore, Level, Operation, OperationResult, Outcome
from daycache_ray.words.ports import MISSING
from daycache_ray.words.types import Version

RIGHTS_MAX: Final = 256
"""Keys whose rights one `set_many` holds at a time."""

NUMBER_LIMIT: Final = 2**63
VOID: Final = int(Outcome.VOID)


class Planned(NamedTuple):
    """What one write makes of its key."""

    value: Any
    operation: Operation


Decide: TypeAlias = Callable[[Seen | None], Planned | None]
"""Returns what to write for what is there, None for nothing; raises where that cannot be."""


class WriteThrough(RegionWrites):
    """Writes of one write-through region by one session. WEAK ones wait for the origin too."""

    def __init__(self, reads: RegionReads, weak: WeakWrites) -> None:
        super().__init__(reads, weak)
        self._fills = FillCalls(reads)
        self._writer: KeyWriter | None = None

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
        urgency = priority_number(priority)
        planned = Planned(value, self.put_operation(place, value, ttl_s, tags=tags, priority=urgency))
        result = yield from self._through(key, place, planned, level, deadline_s)
        assert result is not None
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
        """Return one exchange for all; everything is checked before."""
        number, urgency = self._number(level), priority_number(priority)
        deadline_at_s = self._deadline(deadline_s)
        places = [(key, self._reads.place(key)) for key in dict(values)]
        planned = [
            (key, place, Planned(value, self.put_operation(place, value, ttl_s, tags=tags, priority=urgency)))
            for key, place in places
            for value in (values[key],)
        ]
        # In one order everywhere, so that two who write the same keys do not wait for each other.
        planned.sort(key=lambda one: one[1].stored)
        return [
            self._many(planned[start : start + RIGHTS_MAX], number, deadline_at_s)
            for start in range(0, len(planned), RIGHTS_MAX)
        ]

    def add(self, key: Any, value: Any, ttl_s: Any, level: Any, deadline_s: Any, tags: Any = ()) -> Exchange[bool]:
        """Write a value where the cache has none."""
        place = self._reads.place(key)
        planned = Planned(value, self.put_operation(place, value, ttl_s, tags=tags))
        result = yield from self._through(
            key, place, lambda seen: planned if seen is None else None, level, deadline_s
        )
        return result is not None

    def delete(self, key: Any, level: Any, deadline_s: Any) -> Exchange[bool]:
        """Remove a key from the origin, then its entry."""
        place = self._reads.place(key)
        planned = Planned(MISSING, self.delete_operation(place))
        result = yield from self._through(key, place, planned, level, deadline_s)
        return result is not None and result.outcome == Outcome.DONE

    def increment(self, key: Any, by: Any, ttl_s: Any, level: Any, deadline_s: Any) -> Exchange[int | float]:
        """Add to a number; the origin gets the sum."""
        place = self._reads.place(key)
        delta = increment_of(by)
        sums: list[int | float] = []

        def decide(seen: Seen | None) -> Planned:
            before = 0 if seen is None else self._reads.decode(seen)
            is_number = isinstance(before, (int, float)) and not isinstance(before, bool)
            if not is_number or (isinstance(before + delta, int) and abs(before + delta) >= NUMBER_LIMIT):
                raise NotANumberError(
                    f"{key!r} holds no number that stays within 64 bits: set one, or delete the entry first"
                )
            sums[:] = [before + delta]
            operation = self.put_operation(
                place, sums[0], None if ttl_s is REGION_TTL else ttl_s, tags=() if seen is None else seen.tags
            )
            if ttl_s is REGION_TTL and seen is not None and seen.expires_at_ns:
                left_ns = max(1, seen.expires_at_ns - self._session.wall_ns())
                operation = msgspec.structs.replace(operation, ttl_ns=left_ns)
            return Planned(sums[0], operation)

        yield from self._through(key, place, decide, level, deadline_s)
        return sums[0]

    def compare_and_set(
        self, key: Any, value: Any, expected: Any, ttl_s: Any, level: Any, deadline_s: Any, tags: Any = ()
    ) -> Exchange[Version]:
        """Write a value where the version in the cache is the expected one."""
        place = self._reads.place(key)
        version = expected_of(expected)
        planned = Planned(value, self.put_operation(place, value, ttl_s, tags=tags))

        def decide(seen: Seen | None) -> Planned:
            current = seen.version if seen is not None else None
            if (current or Version(0, 0)) != version:
                now = f"version {current}" if current else "no entry"
                text = f"{key!r} was expected at {tuple(version) if version.lsn else 'no entry'}, but there is {now}"
                raise VersionConflictError(f"{text}: read it again and decide anew", current=current)
            return planned

        result = yield from self._through(key, place, decide, level, deadline_s)
        assert result is not None
        return Version(result.epoch, result.lsn)

    # ------------------------------------------------------------------ one key

    def _through(
        self, key: Any, place: Place, what: Planned | Decide, level: Any, deadline_s: Any
    ) -> Exchange[OperationResult | None]:
        """Write the origin, then the cache, under the key's right; None where there was nothing to write."""
        number = self._number(level)
        deadline_at_s = self._deadline(deadline_s)
        planned = what if isinstance(what, Planned) else None
        is_written = False
        while True:
            held = yield from self._take(key, place, deadline_at_s, is_written=is_written)
            try:
                # Decided once: a repetition after a failover writes what the origin has already.
                if planned is None and not isinstance(what, Planned):
                    planned = what((yield from self._seen(place, number, deadline_at_s)))
                if planned is None:
                    yield from self._fills.give_back([held], "")
                    return None
            except CacheError:
                yield from self._fills.give_back([held], "")
                raise
            yield from self._write_origin([held], {held.text: planned.value})
            is_written = True
            result = yield from self._store(held, planned.operation, number, deadline_at_s)
            if result.outcome != VOID:
                return result

    def _seen(self, place: Place, number: Level, deadline_at_s: float) -> Exchange[Seen | None]:
        (seen,), _ = yield from self._reads.far_bounded(place.part, [place], number, deadline_at_s, any_copy=False)
        if seen is None or seen.is_negative or seen.is_expired(self._session.wall_ns()):
            return None
        return seen

    def _number(self, level: Any) -> Level:
        return max(self._level(level), Level.EVENTUAL)

    def _take(self, key: Any, place: Place, deadline_at_s: float, *, is_written: bool) -> Exchange[Held]:
        """Wait for the right to write a key's origin."""
        try:
            while True:
                if self._session.now_s() > deadline_at_s:
                    raise DeadlineExceededError(f"others write {key!r} all the time; nothing was written: try again")
                answer, member = yield from self._fills.ask(place, deadline_at_s, wait=True, write=True)
                if answer.number > 0:
                    return Held(key, place, answer.number, member)
        except UnavailableError as error:
            if is_written:
                raise _half_done(key, error) from error
            raise

    def _write_origin(self, held: list[Held], values: dict[str, Any]) -> Exchange[None]:
        """Call the writer; where it refuses give the rights back, and the cache holds what it held."""
        if self._writer is None:
            try:
                self._writer = resolve_writer(self._config.writer)
            except CacheError:
                yield from self._fills.give_back(held, "")
                raise
        writer, deadline_s = self._writer, self._config.write_deadline_s
        try:
            yield Load(_question(writer, values), tuple(values), deadline_s)
        except LoadError as error:
            cause = error.__cause__
            if not isinstance(cause, WriteError):
                # It may still come through: the rights end by themselves, and then the entries go (W2).
                raise UnknownOutcomeError(
                    f"{writer!r} did not answer within {deadline_s:g} s: the origin may take it or not, and the "
                    "cache forgets the entry: write it again"
                ) from error
            if len(held) == 1 or writer.is_batched:
                yield from self._fills.give_back(held, "")
            else:
                # Which of them the origin took nobody knows.
                for each in held:
                    yield from self._store(each, self.delete_operation(each.place), Level.EVENTUAL, None)
            raise cause from cause.__cause__

    def _store(
        self, held: Held, operation: Operation, number: Level, deadline_at_s: float | None
    ) -> Exchange[OperationResult]:
        """Change the cache under a right; VOID where it is lost."""
        place, session = held.place, self._session
        sequences = place.part.sequences
        sequence = sequences.take(1)
        region, shard = place.part.shard

        def build(request_id: int) -> FillStore:
            return FillStore(request_id, region, shard, held.number, operation, session.client, sequence, int(number))

        size_bytes = len(operation.value)
        until_s = deadline_at_s if deadline_at_s is not None else self._deadline(None)
        try:
            answer = yield from ask(session, place.part.shard, build, until_s, writes=True, size_bytes=size_bytes)
        except CacheError as error:
            raise _half_done(held.key, error) from error
        finally:
            sequences.done(sequence)
        result: OperationResult = answer.results[0]
        if result.lsn and result.outcome != VOID:
            place.part.token.observe(result.epoch, result.lsn)
        return result

    # ------------------------------------------------------------------ many keys

    def _many(
        self, planned: list[tuple[Any, Place, Planned]], number: Level, deadline_at_s: float
    ) -> Exchange[dict[Any, Version]]:
        held: list[Held] = []
        try:
            for key, place, _ in planned:
                held.append((yield from self._take(key, place, deadline_at_s, is_written=False)))
        except BaseException:
            yield from self._fills.give_back(held, "")
            raise
        values = {each.text: one.value for each, (_, _, one) in zip(held, planned, strict=True)}
        yield from self._write_origin(held, values)
        versions: dict[Any, Version] = {}
        for each, (key, place, one) in zip(held, planned, strict=True):
            result: OperationResult | None = yield from self._store(each, one.operation, number, deadline_at_s)
            if result is not None and result.outcome == VOID:
                left_s = max(0.001, deadline_at_s - self._session.now_s())
                result = yield from self._through(key, place, one, number.name.lower(), left_s)
            assert result is not None
            versions[key] = Version(result.epoch, result.lsn)
        return versions


def _question(writer: KeyWriter, values: dict[str, Any]) -> KeyLoader:
    """Return a call of the writer in the shape in which drivers ask an origin."""

    def write(_: list[str]) -> dict[str, Any]:
        writer.write_many(values)
        return {}

    async def awrite(_: list[str]) -> dict[str, Any]:
        await writer.awrite_many(values)
        return {}

    return KeyLoader(repr(writer), None, awrite if writer.is_async else write)


def _half_done(key: Any, error: CacheError) -> UnknownOutcomeError:
    return UnknownOutcomeError(
        f"the origin has what was written to {key!r}, and the cache may still hold what was there before "
        f"({type(error).__name__}: {error}): write it again, or delete it"
    )
