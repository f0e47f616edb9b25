"""Read-through: one load per missing key in the whole cluster, by fill leases of the shard's primary.

Whoever is granted a key loads it, stores it under its token and has the value in any case; a write,
a delete or the deadline voids the token, and then nothing is stored (R32). The others wait and share
value or error. Where the origin is slow or down, what has expired may be the answer for a while, and what
is about to expire is loaded behind the answer. Decides; neither sends nor loads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from daycache_ray.client.arguments import DEADLINE_S, REGION_TTL, deadline_of, key_text, tags_of
from daycache_ray.client.exchanges import Exchange, Finish, Load, Spawn, Unfinished
from daycache_ray.client.fill_calls import LOADER_MESSAGE_MAX, NOT_THERE, FillCalls, Held
from daycache_ray.client.node_reads import FAR
from daycache_ray.client.origin_guard import OriginGuard, OriginGuards
from daycache_ray.client.refreshing import Refreshes
from daycache_ray.client.region_reads import ABSENT, Place, RegionReads
from daycache_ray.client.region_writes import RegionWrites
from daycache_ray.words.errors import (
    BackpressureError,
    CacheError,
    DeadlineExceededError,
    InvalidValueError,
    LoadCycleError,
    LoadError,
    OriginDownError,
)
from daycache_ray.words.operations import Level, Operation
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag

STALE_READ_S: Final = 1.0
"""A stale answer may take this long beyond the call's deadline, which the origin has used up."""

RECOVERED_KEYS: Final = 100
"""Keys of one question when an origin is back."""


class RegionLoads:
    """Loads of one region by one session."""

    def __init__(self, reads: RegionReads, writes: RegionWrites) -> None:
        self._reads = reads
        self._writes = writes
        self._session = reads.session
        self._config = reads.config
        self._fills = FillCalls(reads)
        self._guards = OriginGuards(reads.config, (reads.config.name, reads.service), reads.session)
        self._refreshes = Refreshes(reads.config, reads.session)
        self.stale_answers_count = 0
        self.background_loads_count = 0

    @property
    def breaker_openings_count(self) -> int:
        """How often an origin was left alone from then on."""
        return self._guards.openings_count

    def near_value(self, key: Any, level: Any, ttl_s: Any) -> Any:
        """Return what shared memory has of `key`, ABSENT, or FAR, also where a refresh is due; counts as an access."""
        reads = self._reads
        if self._refreshes.is_on:
            place = reads.place(key)
            record = place.part.near.read(place.stored, place.bucket, reads.level(level))
            if isinstance(record, bytes) and len(record) >= HEADER_BYTES:
                _, _, expires_at_ns, _, cost_us, *_ = HEADER.unpack_from(record)
                if self._refreshes.want(place.stored, expires_at_ns, cost_us, ttl_s):
                    return FAR
        return reads.near_value(key, ABSENT, level)

    def one(
        self, key: Any, loader: Any, default: Any, ttl_s: Any, level: Any, deadline_s: Any,
        *, counted: bool = False, tags: Any = (),
    ) -> Exchange[Any]:  # fmt: skip
        """Return the value of `key`, loaded where it is missing; `default` where the origin lacks it.

        `counted`: the face has found it missing in shared memory, and noted that access.
        """
        reads, session = self._reads, self._session
        place, tags = reads.place(key), tags_of(tags)
        guard = self._guards.of(loader)
        deadline_at_s = session.now_s() + deadline_of(deadline_s, self._config.load_deadline_s + DEADLINE_S)
        seen = yield from reads.seen(key, level, deadline_at_s, counts=not counted)
        if seen is None:
            reads.wake_stream()
            self._check_cycle(place, guard)
        elif self._refreshes.begin(place.stored, seen, ttl_s):
            yield Spawn(self._refresh([(key, place)], guard, ttl_s, tags))
        waits = self._config.soft_deadline_s is None
        while seen is None:
            try:
                guard.check(session.now_s())
                answer, member = yield from self._fills.ask(place, deadline_at_s, wait=waits)
                if answer.error == NOT_THERE:
                    return default
                if answer.error:
                    raise LoadError(f"the loader of another caller failed for {key!r}: {answer.error}")
                if answer.number > 0:
                    held = [Held(key, place, answer.number, member, tags)]
                    loaded = yield from self._load(held, guard, ttl_s, deadline_at_s, level, is_soft=True)
                    return loaded.get(key, default)
            except (LoadError, BackpressureError):
                stale = yield from self._stale([(key, place)], guard, level, deadline_at_s, tags)
                if stale is None:
                    raise
                return stale.get(key, default)
            if answer.number < 0:
                # Somebody loads it; who has a stale value need not wait for that.
                stale = yield from self._stale([(key, place)], guard, level, deadline_at_s, tags)
                if stale is not None:
                    return stale.get(key, default)
                waits = True
                continue
            if session.now_s() > deadline_at_s:
                raise DeadlineExceededError(f"{key!r} was not loaded in time: give the call more time with deadline_s")
            # Stored or voided by now: ask the primary, other copies may not have it yet.
            (seen,) = yield from reads.far(place.part, [place], reads.default_level or Level.EVENTUAL, deadline_at_s)
        return default if seen.is_negative else reads.decode(seen)

    def many(
        self, keys: Iterable[Any], loader: Any, ttl_s: Any, level: Any, deadline_s: Any, tags: Any = ()
    ) -> Exchange[dict[Any, Any]]:
        """Return the values that there are; all missing ones that nobody loads are one question to the origin."""
        reads, session, tags = self._reads, self._session, tags_of(tags)
        guard = self._guards.of(loader)
        deadline_at_s = session.now_s() + deadline_of(deadline_s, self._config.load_deadline_s + DEADLINE_S)
        found: dict[Any, Any] = {}
        missing: dict[bytes, Any] = {}
        due: list[tuple[Any, Place]] = []
        for key in dict.fromkeys(keys):
            seen = yield from reads.seen(key, level, deadline_at_s)
            place = reads.place(key)
            if seen is None:
                missing.setdefault(place.stored, key)
            elif not seen.is_negative:
                found[key] = reads.decode(seen)
                if self._refreshes.begin(place.stored, seen, ttl_s):
                    due.append((key, place))
        if due:
            yield Spawn(self._refresh(due, guard, ttl_s, tags))
        if missing:
            reads.wake_stream()
            for key in missing.values():
                self._check_cycle(reads.place(key), guard)
        asked = [(key, reads.place(key)) for key in missing.values()]
        try:
            if asked:
                guard.check(session.now_s())
            held, others = yield from self._fills.take(asked, deadline_at_s)
            if held:
                held = [each._replace(tags=tags) for each in held]
                found.update((yield from self._load(held, guard, ttl_s, deadline_at_s, level, is_soft=True)))
        except (LoadError, BackpressureError):
            stale = yield from self._stale(asked, guard, level, deadline_at_s, tags)
            if stale is None:
                raise
            return {**found, **stale}
        # Only now, with no token in hand: two callers that hold and wait could wait for each other.
        for key, _ in others:
            left_s = max(0.001, deadline_at_s - session.now_s())
            value = yield from self.one(key, loader, _NOTHING, ttl_s, level, left_s, counted=True, tags=tags)
            if value is not _NOTHING:
                found[key] = value
        return found

    def _load(
        self,
        held: list[Held],
        guard: OriginGuard,
        ttl_s: Any,
        deadline_at_s: float,
        level: Any = None,
        *,
        is_soft: bool = False,
    ) -> Exchange[dict[Any, Any]]:
        """Ask the origin and store what it has; `is_soft`: or answer with what is stale, and do so behind it."""
        session = self._session
        started_s = session.now_s()
        limit_s = max(0.001, min(self._config.load_deadline_s, deadline_at_s - started_s))
        soft_s = self._config.soft_deadline_s if is_soft else None
        load = Load(guard.loader, tuple(each.text for each in held), limit_s, soft_s)
        try:
            guard.take(started_s)
        except OriginDownError as error:
            yield from self._fills.give_back(held, str(error))
            raise
        outcome = yield from self._origin(held, guard, load)
        if isinstance(outcome, Unfinished):
            items = [(each.key, each.place) for each in held]
            stale = yield from self._stale(items, guard, level, deadline_at_s, held[0].tags)
            end = self._end(held, guard, ttl_s, outcome, started_s, started_s + limit_s)
            if stale is not None:
                self.background_loads_count += 1
                yield Spawn(_without_result(end))
                return stale
            return (yield from end)
        return (yield from self._keep(held, guard, ttl_s, outcome, started_s, deadline_at_s))

    def _end(
        self,
        held: list[Held],
        guard: OriginGuard,
        ttl_s: Any,
        unfinished: Unfinished,
        started_s: float,
        deadline_at_s: float,
    ) -> Exchange[dict[Any, Any]]:
        """Wait for the rest of a load, and store what it brings."""
        left_s = max(0.001, deadline_at_s - self._session.now_s())
        values = yield from self._origin(held, guard, Finish(unfinished, left_s))
        return (yield from self._keep(held, guard, ttl_s, values, started_s, deadline_at_s + DEADLINE_S))

    def _origin(self, held: list[Held], guard: OriginGuard, step: Load | Finish) -> Exchange[Any]:
        """Take a step at the origin; where it fails the leases are given back."""
        try:
            return (yield step)
        except BaseException as error:
            if isinstance(error, LoadError):
                guard.failed(self._session.now_s())
            else:
                guard.gave_up()
            yield from self._fills.give_back(held, str(error)[:LOADER_MESSAGE_MAX] or type(error).__name__)
            raise

    def _keep(
        self,
        held: list[Held],
        guard: OriginGuard,
        ttl_s: Any,
        values: dict[str, Any],
        started_s: float,
        deadline_at_s: float,
    ) -> Exchange[dict[Any, Any]]:
        """Store what the origin has, and say of the rest that it is not there."""
        back = guard.succeeded()
        if back:
            yield Spawn(self._recover(back, guard))
        cost_us = min(2**32 - 1, int((self._session.now_s() - started_s) * 1e6 / len(held)))
        loaded = {}
        left = list(held)
        try:
            while left:
                key, place, number, _, tags = left[0]
                text = left[0].text
                if text in values:
                    loaded[key] = values[text]
                    operation = self._put(place, key, loaded[key], ttl_s, cost_us, tags)
                    yield from self._fills.store(place, number, operation, deadline_at_s)
                elif self._config.negative_ttl_s is not None:
                    operation = self._writes.put_operation(
                        place, None, self._config.negative_ttl_s, flags=Flag.NEGATIVE, tags=tags
                    )
                    yield from self._fills.store(place, number, operation, deadline_at_s)
                else:
                    yield self._fills.failure(left[0], NOT_THERE)
                left.pop(0)
        except BaseException as error:
            yield from self._fills.give_back(left, str(error)[:LOADER_MESSAGE_MAX] or type(error).__name__)
            raise
        return loaded

    def _put(self, place: Place, key: Any, value: Any, ttl_s: Any, cost_us: int, tags: Any) -> Operation:
        try:
            return self._writes.put_operation(place, value, ttl_s, cost_us=cost_us, tags=tags)
        except InvalidValueError as error:
            raise InvalidValueError(f"what the loader returned for {key!r} cannot be stored: {error}") from error

    def _refresh(self, due: list[tuple[Any, Place]], guard: OriginGuard, ttl_s: Any, tags: Any) -> Exchange[None]:
        """Load entries anew that are still there; where somebody else does already, leave them alone."""
        self.background_loads_count += 1
        deadline_at_s = self._session.now_s() + self._config.load_deadline_s + DEADLINE_S
        try:
            guard.check(self._session.now_s())
            held, _ = yield from self._fills.take(due, deadline_at_s, refresh=True)
            if held:
                held = [each._replace(tags=tags) for each in held]
                yield from self._load(held, guard, ttl_s, deadline_at_s)
        finally:
            self._refreshes.end([place.stored for _, place in due])

    def _recover(self, keys: list[Any], guard: OriginGuard) -> Exchange[None]:
        """The origin is back: load what was answered stale before anybody asks again."""
        self.background_loads_count += 1
        places = [(key, self._reads.place(key)) for key in keys]
        for start in range(0, len(places), RECOVERED_KEYS):
            deadline_at_s = self._session.now_s() + self._config.load_deadline_s + DEADLINE_S
            held, _ = yield from self._fills.take(places[start : start + RECOVERED_KEYS], deadline_at_s)
            if held:
                yield from self._load(held, guard, REGION_TTL, deadline_at_s)

    def _stale(
        self, items: list[tuple[Any, Place]], guard: OriginGuard, level: Any, deadline_at_s: float, tags: Any
    ) -> Exchange[dict[Any, Any] | None]:
        """Return what there still is of keys that have expired; None where one has nothing, or none may be used."""
        stale_for_s = self._config.stale_for_s
        if stale_for_s is None:
            return None
        reads = self._reads
        number = reads.level(level)
        deadline_at_s = max(deadline_at_s, self._session.now_s() + STALE_READ_S)
        by_part: dict[Any, list[tuple[Any, Place]]] = {}
        for item in items:
            by_part.setdefault(item[1].part, []).append(item)
        found: dict[Any, Any] = {}
        for part, asked in by_part.items():
            places = [place for _, place in asked]
            try:
                answers = yield from reads.far(part, places, number, deadline_at_s, stale_ns=int(stale_for_s * 1e9))
            except CacheError:
                return None
            for (key, _), seen in zip(asked, answers, strict=True):
                if seen is None:
                    return None
                if not seen.is_negative:
                    found[key] = reads.decode(seen)
        self.stale_answers_count += len(items)
        if not tags:
            # Who loads them anew by itself would not know their tags.
            guard.answered_stale([key for key, _ in items])
        return found

    def _check_cycle(self, place: Place, guard: OriginGuard) -> None:
        chain = guard.loader.chain_to(str(key_text(place.key)))
        if chain:
            key = key_text(place.key)
            raise LoadCycleError(
                f"the loader of '{self._config.name}' asks for {key!r} while it is loading it ({chain} → {key!r}), and "
                "would wait for itself: ask the origin there, or another key"
            )


def _without_result(exchange: Exchange[Any]) -> Exchange[None]:
    yield from exchange


class _Nothing:
    """The type of _NOTHING, a default that is no value."""


_NOTHING: Final = _Nothing()
