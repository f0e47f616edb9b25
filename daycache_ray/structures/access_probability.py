"""How likely a key is asked for again within the next requests of its region, learned while it runs.

Each key has constant state: when and how often it was asked for, two fading counts, and mean and
spread of its gaps on a log scale. Twelve features of that state go through a logistic regression
(Adagrad: Duchi, Hazan, Singer, JMLR 12, 2011). Labels are known only when the horizon has passed, and
a prediction is always made before its label is. Two populations are learned from: keys just asked
for, and a key picked from the last 1 024 accesses, because a cache asks about both. What the
regression says is corrected by what happened, in ten bands of probability.

Positions are counts of requests: the region's clock, which runs faster when more is asked. It
refuses to know what a key is, and forgets the ones not seen for longest.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Final, NamedTuple

import numpy as np

FEATURES_COUNT: Final = 12
_RECENT: Final = 1_024
_BATCH: Final = 64
_BANDS: Final = 10
_START: Final = (-0.5, -0.35, 0.1, 0.6, 0.1, -0.1, -0.1, 0.0, 0.0, -0.1, 0.2, 0.0)
"""Weights before anything was learned: recent, frequent, short gaps are good signs."""


class ProbabilityStatistics(NamedTuple):
    """What was learned so far; `calibration_error_ratio` is the mean distance of said and seen."""

    keys_count: int
    examples_count: int
    base_ratio: float
    calibration_error_ratio: float


class _Seen:
    __slots__ = ("count", "fast", "gap_log", "gap_log_mean", "gap_log_spread", "position", "slow")

    def __init__(self, position: int) -> None:
        self.position = position
        self.count = 1
        self.fast = 1.0
        self.slow = 1.0
        self.gap_log = 0.0
        self.gap_log_mean = 0.0
        self.gap_log_spread = 0.0


class AccessProbability:
    """One region's estimator. Call `observe` for each access in order, `probability` when asked."""

    def __init__(self, *, horizon: int = 64, keys_max: int = 65_536, learn_every: int = 4) -> None:
        assert horizon >= 1
        assert keys_max > _RECENT, "the recent keys must be remembered"
        assert learn_every >= 1
        self._horizon = horizon
        self._keys_max = keys_max
        self._learn_every = learn_every
        self._keys: OrderedDict[int, _Seen] = OrderedDict()
        self._position = 0
        self._recent = [0] * _RECENT
        self._waiting: deque[tuple[int, int, list[float], float]] = deque()
        self._features: list[list[float]] = []
        self._labels: list[float] = []
        self._weights = np.array(_START)
        self._weights_list = list(_START)
        self._squares = np.full(FEATURES_COUNT, 0.5)
        self._band_said = [(band + 0.5) / _BANDS * 20.0 for band in range(_BANDS)]
        self._band_seen = list(self._band_said)
        self._band_count = [20.0] * _BANDS
        self._examples_count = 0
        self._positives_count = 0

    @property
    def position(self) -> int:
        """Requests observed so far."""
        return self._position

    def observe(self, key: int) -> None:
        """Count one request for `key` of the region."""
        self._position += 1
        position = self._position
        self._settle(position)
        seen = self._keys.get(key)
        if seen is None:
            seen = self._keys[key] = _Seen(position)
            if len(self._keys) > self._keys_max:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key)
            _update(seen, position)
        self._recent[position % _RECENT] = key
        if position % self._learn_every == 0:
            self._await_label(key, seen)
            # A fixed odd stride walks over all ages; no randomness is needed to sample fairly.
            other = self._recent[(position * 619) % min(_RECENT, position)]
            resident = self._keys.get(other)
            if resident is not None and other != key:
                self._await_label(other, resident)

    def probability(self, key: int) -> float | None:
        """Return the probability of a request within the horizon, or None for an unknown key."""
        seen = self._keys.get(key)
        if seen is None:
            return None
        return self._calibrated(self._raw(_features_of(seen, self._position)))

    def base_ratio(self) -> float:
        """Return how often the answer was yes so far, 0.5 before anything is known."""
        return (self._positives_count + 1) / (self._examples_count + 2)

    def statistics(self) -> ProbabilityStatistics:
        """Return what was learned so far."""
        counts = [count - 20.0 for count in self._band_count]
        error = sum(
            abs(seen - said) / count * live
            for said, seen, count, live in zip(self._band_said, self._band_seen, self._band_count, counts, strict=True)
        )
        total = sum(counts)
        return ProbabilityStatistics(
            len(self._keys), self._examples_count, self.base_ratio(), error / total if total > 0 else 0.0
        )

    def _await_label(self, key: int, seen: _Seen) -> None:
        features = _features_of(seen, self._position)
        self._waiting.append((self._position, key, features, self._raw(features)))

    def _settle(self, position: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] + self._horizon < position:
            asked_at, key, features, said = waiting.popleft()
            seen = self._keys.get(key)
            if seen is None:
                continue
            # A key asked for by now was asked for within the horizon: later ones are not yet counted.
            label = 1.0 if seen.position > asked_at else 0.0
            band = min(int(said * _BANDS), _BANDS - 1)
            self._count(band, said, label)
            self._features.append(features)
            self._labels.append(label)
            if len(self._labels) == _BATCH:
                self._learn()

    def _count(self, band: int, said: float, label: float) -> None:
        self._examples_count += 1
        self._positives_count += label > 0.0
        if self._band_count[band] >= 4_000.0:
            # Old evidence fades, so that a correction can be unlearned when the weights move on.
            for sums in (self._band_said, self._band_seen, self._band_count):
                sums[band] *= 0.5
        self._band_said[band] += said
        self._band_seen[band] += label
        self._band_count[band] += 1.0

    def _learn(self) -> None:
        features = np.array(self._features)
        said = 1.0 / (1.0 + np.exp(-np.clip(features @ self._weights, -30.0, 30.0)))
        gradient = features.T @ (said - np.array(self._labels)) / _BATCH
        self._squares += gradient * gradient
        self._weights -= 0.3 * gradient / np.sqrt(self._squares)
        self._weights_list = self._weights.tolist()
        self._features.clear()
        self._labels.clear()

    def _raw(self, features: list[float]) -> float:
        score = 0.0
        for weight, feature in zip(self._weights_list, features, strict=True):
            score += weight * feature
        return 1.0 / (1.0 + math.exp(-min(max(score, -30.0), 30.0)))

    def _calibrated(self, said: float) -> float:
        place = said * _BANDS - 0.5
        low = min(max(math.floor(place), 0), _BANDS - 2)
        part = min(max(place - low, 0.0), 1.0)
        shift = self._shift(low) * (1.0 - part) + self._shift(low + 1) * part
        return min(max(said + shift, 0.0005), 0.9995)

    def _shift(self, band: int) -> float:
        return (self._band_seen[band] - self._band_said[band]) / self._band_count[band]


def _update(seen: _Seen, position: int) -> None:
    gap = position - seen.position
    seen.fast = seen.fast * math.exp(-gap / 64.0) + 1.0
    seen.slow = seen.slow * math.exp(-gap / 1024.0) + 1.0
    gap_log = math.log(gap)
    if seen.count == 1:
        seen.gap_log_mean = gap_log
    distance = gap_log - seen.gap_log_mean
    seen.gap_log_mean += 0.2 * distance
    seen.gap_log_spread += 0.2 * (abs(distance) - seen.gap_log_spread)
    seen.gap_log = gap_log
    seen.count += 1
    seen.position = position


def _features_of(seen: _Seen, position: int) -> list[float]:
    age = position - seen.position
    age_log = math.log(age + 1.0)
    repeated = 1.0 if seen.count > 1 else 0.0
    overdue = repeated * (age_log - seen.gap_log_mean)
    return [
        1.0,
        age_log,
        math.log(seen.count),
        math.log(seen.fast * math.exp(-age / 64.0) + 0.01),
        math.log(seen.slow * math.exp(-age / 1024.0) + 0.01),
        seen.gap_log,
        seen.gap_log_mean,
        seen.gap_log_spread,
        overdue,
        max(overdue, 0.0),
        repeated,
        1.0 if age == 0 else 0.0,
    ]
