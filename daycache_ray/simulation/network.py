"""The simulated network: messages are delayed, sometimes for long, lost, doubled, and cut off one way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from daycache_ray.simulation.scheduler import Scheduler

US = 1_000
MS = 1_000_000


class NetworkFaults(NamedTuple):
    """How bad the network is; probabilities are per message."""

    loss_ratio: float = 0.0
    duplicate_ratio: float = 0.0
    slow_ratio: float = 0.0
    slow_ns_max: int = 2_000 * MS


class Network:
    """Carries calls between endpoints, which are plain numbers."""

    def __init__(self, scheduler: Scheduler, faults: NetworkFaults) -> None:
        self.scheduler = scheduler
        self.random = scheduler.random
        self.faults = faults
        self.cuts: set[tuple[int, int]] = set()
        self.delay_ns = (50 * US, 400 * US)
        self.counts = {"message cut off": 0, "message lost": 0, "message doubled": 0, "message slow": 0}

    def send(self, source: int, target: int, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function(*arguments)` at the target some time later, or never, or twice."""
        if (source, target) in self.cuts:
            self.counts["message cut off"] += 1
            return
        faults, random = self.faults, self.random
        if faults.loss_ratio and random.random() < faults.loss_ratio:
            self.counts["message lost"] += 1
            return
        self.scheduler.after(self._delay(), function, *arguments)
        if faults.duplicate_ratio and random.random() < faults.duplicate_ratio:
            self.counts["message doubled"] += 1
            self.scheduler.after(self._delay(), function, *arguments)

    def cut(self, source: int, target: int) -> None:
        """Lose everything from one to the other, this way only."""
        self.cuts.add((source, target))

    def heal(self) -> None:
        """Deliver everything again, and lose, double and slow down nothing any more."""
        self.cuts.clear()
        self.faults = NetworkFaults()

    def _delay(self) -> int:
        random = self.random
        low, high = self.delay_ns
        delay = low + int(random.random() * (high - low))
        if self.faults.slow_ratio and random.random() < self.faults.slow_ratio:
            self.counts["message slow"] += 1
            delay += int(random.random() ** 3 * self.faults.slow_ns_max)
        return delay
