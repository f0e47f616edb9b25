"""What a stated probability turned out to be worth: a running correction by bucket.

A regression that learns online says .95 where .92 comes true, and .34 where .46 does; a threshold on
probabilities needs the latter number of each pair.
"""

from __future__ import annotations

from typing import Final

_BUCKETS: Final = 32
_COUNT_MAX: Final = 4096.0
_PRIOR: Final = 16.0


class Calibration:
    """Counts of statements and of those that came true, in 32 even buckets of probability."""

    def __init__(self) -> None:
        self._said = [0.0] * _BUCKETS
        self._stated = [0.0] * _BUCKETS
        self._true = [0.0] * _BUCKETS

    def corrected(self, probability: float) -> float:
        """Return what a statement of `probability` (0 .. 1) has been worth: 0 .. 1."""
        at = int(probability * (_BUCKETS - 0.001))
        said = self._said[at]
        value = probability + (self._true[at] - self._stated[at]) / (said + _PRIOR)
        return 0.0 if value < 0.0 else 1.0 if value > 1.0 else value

    def learn(self, probability: float, came: bool) -> None:
        """Count that `probability` was stated and whether it came true."""
        at = int(probability * (_BUCKETS - 0.001))
        self._said[at] += 1.0
        self._stated[at] += probability
        self._true[at] += came
        if self._said[at] > _COUNT_MAX:
            self._said[at] *= 0.5
            self._stated[at] *= 0.5
            self._true[at] *= 0.5
