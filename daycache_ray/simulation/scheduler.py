"""Simulated time: one heap of (time, number, function, arguments), and the seed's random numbers.

Equal times run in the order in which they were scheduled, so a seed is one history.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any


class EventBudgetExceeded(AssertionError):
    """More events than a run may have: something sends for ever."""


class Scheduler:
    """Runs functions in the order of simulated nanoseconds."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_ns = 0
        self.events_count = 0
        self._number = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, time_ns: int, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function(*arguments)` at `time_ns`, or now if that has passed."""
        self._number += 1
        heappush(self._heap, (max(time_ns, self.now_ns), self._number, function, arguments))

    def after(self, delay_ns: int, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function(*arguments)` in `delay_ns`."""
        self._number += 1
        heappush(self._heap, (self.now_ns + delay_ns, self._number, function, arguments))

    def run(self, until_ns: int, events_max: int) -> None:
        """Run everything up to `until_ns`; raises EventBudgetExceeded after `events_max` events."""
        heap = self._heap
        count = self.events_count
        while heap and heap[0][0] <= until_ns:
            self.now_ns, _, function, arguments = heappop(heap)
            count += 1
            if count > events_max:
                raise EventBudgetExceeded(f"more than {events_max} events by {self.now_ns / 1e9:.3f} s")
            function(*arguments)
        self.events_count = count
        self.now_ns = max(self.now_ns, until_ns)
