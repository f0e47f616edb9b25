"""What to load now, what not, and what it gained: one machine per region, which never loads itself.

    offer(candidates) -> loads to start        loaded / present / failed   <- how each ended
    accessed(key, hit)                          tick                        -> receipts

A candidate is loaded when it is likely enough, not in flight, not loaded a moment ago, not in the
holdout, and when the budget has a token. The holdout is a fixed part of all keys, chosen by their
hash, that is never loaded ahead. A held-out candidate is remembered, and whether it is a miss when it
is asked for is what would have become of the others: the gain is measured and not believed. Each
load ends in one receipt: USEFUL, LATE, WASTED, PRESENT or FAILED.

Accesses are told in batches, after they happened, so `accessed` takes the time of the access and not
of the telling. It refuses to know values, origins, sockets and clocks.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from daycache_ray.structures.prediction.threshold import ThresholdController

HOLDOUT_PARTS: Final = 10_000


class PrefetchSettings(NamedTuple):
    """A region's policy. `window_s` is how long a loaded key may wait to be asked for."""

    threshold_ratio: float = 0.2
    per_s_max: float = 500.0
    holdout_ratio: float = 0.01
    in_flight_max: int = 64
    window_s: float = 60.0
    load_deadline_s: float = 30.0
    tracked_max: int = 65_536
    receipts_max: int = 256


class Candidate(NamedTuple):
    """A key that may be asked for: 64-bit number, probability, accesses ahead, who said so."""

    key: int
    probability: float
    step: int
    source: str = "tables"


class Outcome(enum.Enum):
    """How a prefetch ended."""

    USEFUL = "useful"
    """Asked for when it was there."""
    LATE = "late"
    """Asked for while it was being loaded: part of the wait was saved."""
    WASTED = "wasted"
    """Not asked for within the window, or gone before it was."""
    PRESENT = "present"
    """It was there already, or somebody else loaded it."""
    FAILED = "failed"
    """The loader raised, had no such key, or hung."""


class Receipt(NamedTuple):
    """The proof of what one prefetch gained. `saved_s` is the waiting it spared, at most its load time."""

    key: int
    probability: float
    step: int
    source: str
    outcome: Outcome
    issued_s: float
    ended_s: float
    load_s: float
    saved_s: float


@dataclass(frozen=True, slots=True)
class PrefetchStatistics:
    """Counts since the start, of one region; the ratios say what prefetching does to misses."""

    issued_count: int
    useful_count: int
    late_count: int
    wasted_count: int
    present_count: int
    failed_count: int
    held_out_count: int
    over_budget_count: int
    in_flight_count: int
    waiting_count: int
    saved_s: float
    threshold_ratio: float
    accesses_count: int
    misses_count: int
    prefetched_asked_count: int
    prefetched_missed_count: int
    holdout_asked_count: int
    holdout_missed_count: int

    @property
    def prefetched_miss_ratio(self) -> float:
        """Misses per prefetched key that was asked for; late and lost ones are misses."""
        return self.prefetched_missed_count / max(self.prefetched_asked_count, 1)

    @property
    def holdout_miss_ratio(self) -> float:
        """Misses per held-out candidate that was asked for: the same without prefetching."""
        return self.holdout_missed_count / max(self.holdout_asked_count, 1)

    @property
    def wasted_per_saved_ratio(self) -> float:
        """Wasted loads for each one that was asked for."""
        return self.wasted_count / max(self.useful_count + self.late_count, 1)


class TokenBucket:
    """At most `per_s` tokens a second, at most a second's worth (one at least) at once."""

    def __init__(self, per_s: float, now_s: float) -> None:
        assert per_s > 0.0, "a budget"
        self._per_s = per_s
        self._most = max(per_s, 1.0)
        self._tokens = self._most
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token, or say that there is none."""
        self._tokens = min(self._tokens + max(now_s - self._at_s, 0.0) * self._per_s, self._most)
        self._at_s = max(now_s, self._at_s)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _Load:
    __slots__ = ("asked_s", "candidate", "issued_s", "loaded_s")

    def __init__(self, candidate: Candidate, issued_s: float) -> None:
        self.candidate = candidate
        self.issued_s = issued_s
        self.loaded_s = -1.0
        self.asked_s = -1.0


def held_out(key: int, ratio: float) -> bool:
    """Return whether a key belongs to the holdout: the same keys in every process and for ever."""
    return ((key * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 40) % HOLDOUT_PARTS < ratio * HOLDOUT_PARTS


class PrefetchMachine:
    """One region's prefetching; see the module."""

    def __init__(self, settings: PrefetchSettings, now_s: float) -> None:
        assert settings.in_flight_max >= 1
        assert settings.tracked_max >= 1
        self._settings = settings
        self._bucket = TokenBucket(settings.per_s_max, now_s)
        self._threshold = ThresholdController(settings.threshold_ratio)
        self._in_flight: OrderedDict[int, _Load] = OrderedDict()
        self._waiting: OrderedDict[int, _Load] = OrderedDict()
        self._recently: OrderedDict[int, float] = OrderedDict()
        self._receipts: deque[Receipt] = deque(maxlen=settings.receipts_max)
        self._counts = dict.fromkeys(Outcome, 0)
        self._issued_count = 0
        self._held_out_count = 0
        self._over_budget_count = 0
        self._saved_s = 0.0
        self._held: OrderedDict[int, float] = OrderedDict()
        self._accesses_count = 0
        self._misses_count = 0
        self._gone_count = 0
        self._holdout_asked_count = 0
        self._holdout_missed_count = 0

    @property
    def threshold_ratio(self) -> float:
        """The least probability at the moment: the region's own, or more while too much is wasted."""
        return max(self._threshold.threshold_ratio, self._settings.threshold_ratio)

    def offer(self, candidates: Iterable[Candidate], now_s: float) -> tuple[Candidate, ...]:
        """Return the candidates to load now; each must come back by `loaded`, `present` or `failed`."""
        chosen: list[Candidate] = []
        threshold = self.threshold_ratio
        for candidate in candidates:
            key = candidate.key
            if not candidate.probability >= threshold:
                continue
            if key in self._in_flight or key in self._waiting or self._was_there(key, now_s):
                continue
            if held_out(key, self._settings.holdout_ratio):
                self._hold(key, now_s)
                continue
            if len(self._in_flight) >= self._settings.in_flight_max or not self._bucket.take(now_s):
                self._over_budget_count += 1
                continue
            self._in_flight[key] = _Load(candidate, now_s)
            self._issued_count += 1
            chosen.append(candidate)
        return tuple(chosen)

    def loaded(self, key: int, now_s: float) -> None:
        """Note that the key's value was stored."""
        load = self._in_flight.pop(key, None)
        if load is None:
            return
        load.loaded_s = now_s
        if load.asked_s >= 0.0:
            self._end(load, Outcome.LATE, now_s, max(load.asked_s - load.issued_s, 0.0))
            return
        self._waiting[key] = load
        if len(self._waiting) > self._settings.tracked_max:
            _, oldest = self._waiting.popitem(last=False)
            self._end(oldest, Outcome.WASTED, now_s, 0.0)

    def present(self, key: int, now_s: float) -> None:
        """Note that there was nothing to load: it was stored already, or somebody else has the fill."""
        load = self._in_flight.pop(key, None)
        if load is not None:
            self._end(load, Outcome.PRESENT, now_s, 0.0)
            self._remember(key, now_s)

    def failed(self, key: int, now_s: float) -> None:
        """Note that the load failed; the key is left alone for a while."""
        load = self._in_flight.pop(key, None)
        if load is not None:
            self._end(load, Outcome.FAILED, now_s, 0.0)
            self._remember(key, now_s)

    def accessed(self, key: int, hit: bool, now_s: float) -> Outcome | None:
        """Note that somebody asked for the key at `now_s`; return how a prefetch of it ended by that."""
        self._accesses_count += 1
        self._misses_count += not hit
        if self._held.pop(key, None) is not None:
            self._holdout_asked_count += 1
            self._holdout_missed_count += not hit
        load = self._waiting.pop(key, None)
        if load is not None:
            return self._asked(load, hit, now_s)
        load = self._in_flight.get(key)
        if load is not None and load.asked_s < 0.0:
            load.asked_s = now_s
            return Outcome.LATE
        self._remember(key, now_s)
        return None

    def tick(self, now_s: float) -> None:
        """End what waited too long: loaded keys nobody asked for, loads that never came back."""
        for loads, limit_s, outcome in (
            (self._waiting, self._settings.window_s, Outcome.WASTED),
            (self._in_flight, self._settings.load_deadline_s, Outcome.FAILED),
        ):
            while loads:
                key, load = next(iter(loads.items()))
                since_s = load.loaded_s if outcome is Outcome.WASTED else load.issued_s
                if now_s - since_s < limit_s:
                    break
                del loads[key]
                self._end(load, outcome, now_s, 0.0)
        while self._held and now_s - next(iter(self._held.values())) >= self._settings.window_s:
            self._held.popitem(last=False)

    def receipts(self) -> tuple[Receipt, ...]:
        """Return the last receipts, oldest first."""
        return tuple(self._receipts)

    def statistics(self) -> PrefetchStatistics:
        """Return the counts so far."""
        return PrefetchStatistics(
            issued_count=self._issued_count,
            useful_count=self._counts[Outcome.USEFUL],
            late_count=self._counts[Outcome.LATE],
            wasted_count=self._counts[Outcome.WASTED],
            present_count=self._counts[Outcome.PRESENT],
            failed_count=self._counts[Outcome.FAILED],
            held_out_count=self._held_out_count,
            over_budget_count=self._over_budget_count,
            in_flight_count=len(self._in_flight),
            waiting_count=len(self._waiting),
            saved_s=self._saved_s,
            threshold_ratio=self.threshold_ratio,
            accesses_count=self._accesses_count,
            misses_count=self._misses_count,
            prefetched_asked_count=self._counts[Outcome.USEFUL] + self._counts[Outcome.LATE] + self._gone_count,
            prefetched_missed_count=self._counts[Outcome.LATE] + self._gone_count,
            holdout_asked_count=self._holdout_asked_count,
            holdout_missed_count=self._holdout_missed_count,
        )

    def _asked(self, load: _Load, hit: bool, now_s: float) -> Outcome:
        if hit:
            outcome, saved_s = Outcome.USEFUL, load.loaded_s - load.issued_s
        elif now_s <= load.loaded_s:
            outcome, saved_s = Outcome.LATE, max(now_s - load.issued_s, 0.0)
        else:
            outcome, saved_s = Outcome.WASTED, 0.0
            self._gone_count += 1
        self._end(load, outcome, now_s, saved_s)
        return outcome

    def _hold(self, key: int, now_s: float) -> None:
        self._held_out_count += 1
        self._held.setdefault(key, now_s)
        if len(self._held) > self._settings.tracked_max:
            self._held.popitem(last=False)

    def _was_there(self, key: int, now_s: float) -> bool:
        # Asked for or found present a second ago: it is there, or its miss loads it.
        at_s = self._recently.get(key)
        return at_s is not None and now_s - at_s < 1.0

    def _remember(self, key: int, now_s: float) -> None:
        self._recently[key] = now_s
        self._recently.move_to_end(key)
        if len(self._recently) > self._settings.tracked_max:
            self._recently.popitem(last=False)

    def _end(self, load: _Load, outcome: Outcome, now_s: float, saved_s: float) -> None:
        self._counts[outcome] += 1
        self._saved_s += saved_s
        if outcome in (Outcome.USEFUL, Outcome.LATE):
            self._threshold.saved()
        elif outcome is Outcome.WASTED:
            self._threshold.wasted()
        candidate = load.candidate
        load_s = load.loaded_s - load.issued_s if load.loaded_s >= 0.0 else 0.0
        self._receipts.append(
            Receipt(
                candidate.key,
                candidate.probability,
                candidate.step,
                candidate.source,
                outcome,
                load.issued_s,
                now_s,
                load_s,
                saved_s,
            )
        )
