"""Who is spared because it was dear: its origin's seconds for a byte, beside the mean of all whom a hand meets."""

from __future__ import annotations

from typing import Final

MOST: Final = 8.0
"""An entry worth this many times the mean, or more, is let go at every eighth meeting."""
HIGH: Final = 4.0
"""What has high priority is worth this many times the mean at least: it goes at every fourth meeting."""
_MEMORY: Final = 256
"""About how many meetings the mean remembers."""
_STEP: Final = 0.6180339887498949
"""The golden ratio: its multiples are spread evenly, without dice."""


class Worth:
    """An unused entry that is worth w times the mean is let go at one of w meetings: nothing is kept about any entry.

    >>> worth = Worth()
    >>> [worth.is_spared(1, 100) for _ in range(3)]
    [False, False, False]
    >>> sum(worth.is_spared(400, 100) for _ in range(8)) >= 5
    True
    """

    def __init__(self) -> None:
        self._mean = 0.0
        self._phase = 0.0

    def is_spared(self, cost_us: int, size_bytes: int, *, is_high: bool = False) -> bool:
        """Return whether an entry stays although nobody used it; a `cost_us` of 0 is unknown, and it does not.

        `is_high` spares it at three of four meetings whatever it cost.
        """
        assert size_bytes >= 1 and cost_us >= 0
        ratio = HIGH if is_high else 1.0
        if cost_us:
            worth = cost_us / size_bytes
            mean = self._mean = self._mean + (worth - self._mean) / _MEMORY if self._mean else worth
            if worth > ratio * mean:
                ratio = worth / mean if worth < MOST * mean else MOST
        if ratio <= 1.0:
            return False
        self._phase = (self._phase + _STEP) % 1.0
        return self._phase * ratio >= 1.0
