"""Reads with a limit to how old their answer may be: the nearest copy that can prove it, else what `on_stale` says.

How old an answer is at most, is measured from the moment of the call: everything that was acknowledged so long
before is in it. A copy that cannot prove a bound counts as too old. Decides; sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from daycache_ray.client.arguments import deadline_of, level_number, staleness_of
from daycache_ray.client.exchanges import Exchange
from daycache_ray.client.node_reads import Far
from daycache_ray.client.records import Seen, seen_of_own
from daycache_ray.client.region_reads import Place, RegionReads
from daycache_ray.client.session import ShardSession
from daycache_ray.words.errors import InvalidArgumentError, StaleError
from daycache_ray.words.operations import Level
from daycache_ray.words.types import Entry

ON_STALE: Final = ("raise", "refresh", "serve")


class Limit(NamedTuple):
    """How old an answer may be, and what is done where the nearest is older."""

    max_s: float
    on_stale: str

    def allows(self, bound_s: float | None) -> bool:
        """Whether an answer with this bound is young enough."""
        return bound_s is not None and bound_s <= self.max_s

    def error(self, count: int, bound_s: float | None) -> StaleError:
        """Return the error for keys that nobody in reach can answer young enough."""
        what = "the answer" if count == 1 else f"the answers for {count} keys"
        age = "at an age that is not known" if bound_s is None else f"up to {bound_s:.6f} s old"
        advice = "ask with on_stale='refresh' or a larger max_staleness_s" if self.on_stale == "raise" else "try again"
        return StaleError(f"{what} in reach would be {age}, at most {self.max_s:g} s is allowed: {advice}")


class BoundedReads:
    """Bounded reads of one region by one session."""

    def __init__(self, reads: RegionReads) -> None:
        self._reads = reads
        self._session = reads.session

    def value(self, key: Any, default: Any, level: Any, limit: Limit, deadline_s: Any) -> Exchange[Any]:
        """Read a value; raises StaleError."""
        seen = yield from self._one(key, level, limit, deadline_s)
        return default if seen is None or seen.is_negative else self._reads.decode(seen)

    def entry(self, key: Any, level: Any, limit: Limit, deadline_s: Any) -> Exchange[Entry | None]:
        """Read a value with what is known about it; raises StaleError."""
        seen = yield from self._one(key, level, limit, deadline_s)
        return None if seen is None or seen.is_negative else self._reads.entry_of(seen, level)

    def many(self, keys: Iterable[Any], level: Any, limit: Limit, deadline_s: Any) -> list[Exchange[dict[Any, Any]]]:
        """Return one exchange for each shard; each raises StaleError where any of its keys is too old."""
        number = self._level(level)
        deadline_at_s = self._session.now_s() + deadline_of(deadline_s)
        by_part: dict[ShardSession, dict[Any, Place]] = {}
        for key in keys:
            place = self._reads.place(key)
            by_part.setdefault(place.part, {})[key] = place
        return [self._values_of(part, asked, number, limit, deadline_at_s) for part, asked in by_part.items()]

    def _one(self, key: Any, level: Any, limit: Limit, deadline_s: Any) -> Exchange[Seen | None]:
        place = self._reads.place(key)
        deadline_at_s = self._session.now_s() + deadline_of(deadline_s)
        found = yield from self._observe(place.part, {key: place}, self._level(level), limit, deadline_at_s)
        return found[key]

    def _values_of(
        self, part: ShardSession, asked: dict[Any, Place], level: Level, limit: Limit, deadline_at_s: float
    ) -> Exchange[dict[Any, Any]]:
        found = yield from self._observe(part, asked, level, limit, deadline_at_s)
        return {
            key: self._reads.decode(seen) for key, seen in found.items() if seen is not None and not seen.is_negative
        }

    def _observe(
        self, part: ShardSession, asked: dict[Any, Place], level: Level, limit: Limit, deadline_at_s: float
    ) -> Exchange[dict[Any, Seen | None]]:
        reads = self._reads
        found: dict[Any, Seen | None] = {}
        far: dict[Any, Place] = {}
        stale: dict[Any, Place] = {}
        worst_s: float | None = 0.0
        is_near = self._session.look_near(part)
        for key, place in asked.items():
            # One's own WEAK write will be the newest when it lands: nothing older is told.
            own = reads.own_write(place) if level == Level.WEAK else None
            if own is not None:
                found[key] = seen_of_own(own)
                continue
            seen, bound_s = reads.near_seen(place, level) if is_near else (FAR_AWAY, None)
            if isinstance(seen, Far):
                far[key] = place
            elif limit.allows(bound_s) or limit.on_stale == "serve":
                found[key] = seen
                reads.count(place, seen, from_memory=True)
            else:
                stale[key], worst_s = place, bound_s
        if far:
            answers, bound_s = yield from reads.far_bounded(part, list(far.values()), level, deadline_at_s)
            if limit.allows(bound_s) or limit.on_stale == "serve":
                self._take(far, answers, found)
            else:
                stale.update(far)
                worst_s = bound_s
        if stale:
            if limit.on_stale == "raise":
                raise limit.error(len(stale), worst_s)
            at_least = max(level, Level.EVENTUAL)
            answers, bound_s = yield from reads.far_bounded(
                part, list(stale.values()), at_least, deadline_at_s, any_copy=False
            )
            if not limit.allows(bound_s):
                raise limit.error(len(stale), bound_s)
            self._take(stale, answers, found)
        return found

    def _take(self, asked: dict[Any, Place], answers: list[Seen | None], found: dict[Any, Seen | None]) -> None:
        for (key, place), seen in zip(asked.items(), answers, strict=True):
            found[key] = seen
            self._reads.count(place, seen, from_memory=False)

    def _level(self, level: Any) -> Level:
        return self._reads.default_level if level is None else level_number(level)


FAR_AWAY: Final = Far()


def limit_of(max_staleness_s: Any, on_stale: Any) -> Limit:
    """Return a call's limit.

    Raises:
        InvalidArgumentError: `max_staleness_s` is no number of 0 or more, `on_stale` none of its three words.
    """
    if on_stale not in ON_STALE:
        raise InvalidArgumentError(f"on_stale is {on_stale!r}; write 'raise', 'refresh' or 'serve'")
    return Limit(staleness_of(max_staleness_s), on_stale)
