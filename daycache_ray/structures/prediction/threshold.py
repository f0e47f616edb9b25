"""The least probability worth a prefetch, moved by what prefetching wasted for what it saved."""

from __future__ import annotations

from typing import Final

LOWEST_RATIO: Final = 0.1
HIGHEST_RATIO: Final = 0.4
_WASTED_PER_SAVED_GOOD: Final = 0.3
_WASTED_PER_SAVED_BAD: Final = 0.5
_PERIOD: Final = 64
"""Outcomes between two moves of the threshold: enough to see a ratio, few enough to follow a day."""
_STEP: Final = 1.1


class ThresholdController:
    """Between 0.1 and 0.4: down while less than 0.3 is wasted per saved load, up from 0.5 on.

    >>> controller = ThresholdController(0.2)
    >>> for _ in range(640): controller.saved()
    >>> controller.threshold_ratio
    0.1
    """

    def __init__(self, start_ratio: float = 0.2) -> None:
        assert 0.0 < start_ratio < 1.0
        self.threshold_ratio = min(max(start_ratio, LOWEST_RATIO), HIGHEST_RATIO)
        self._saved = 0.0
        self._wasted = 0.0
        self._since = 0

    def saved(self) -> None:
        """Count a prefetched key that was asked for."""
        self._saved += 1.0
        self._move()

    def wasted(self) -> None:
        """Count a prefetched key that left unasked."""
        self._wasted += 1.0
        self._move()

    @property
    def wasted_per_saved(self) -> float:
        """The fading ratio that the threshold follows."""
        return self._wasted / max(self._saved, 1.0)

    def _move(self) -> None:
        self._since += 1
        if self._since < _PERIOD:
            return
        self._since = 0
        ratio = self.wasted_per_saved
        if ratio < _WASTED_PER_SAVED_GOOD:
            self.threshold_ratio = max(self.threshold_ratio / _STEP, LOWEST_RATIO)
        elif ratio > _WASTED_PER_SAVED_BAD:
            self.threshold_ratio = min(self.threshold_ratio * _STEP, HIGHEST_RATIO)
        self._saved *= 0.9
        self._wasted *= 0.9
