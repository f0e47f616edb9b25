"""The two clocks of a simulated node: a boot clock that drifts, a wall clock that drifts and is stepped."""

from __future__ import annotations

from typing import Final

from daycache_ray.simulation.scheduler import Scheduler
from daycache_ray.words.types import Instant

WALL_START_NS: Final = 1_700_000_000_000_000_000
PPM: Final = 1_000_000


class NodeClock:
    """`drift_ppm` parts in a million faster than true time; boot clocks of nodes have nothing in common."""

    def __init__(self, scheduler: Scheduler, drift_ppm: int, boot_offset_ns: int, wall_offset_ns: int) -> None:
        self.scheduler = scheduler
        self.drift_ppm = drift_ppm
        self.boot_offset_ns = boot_offset_ns
        self.wall_offset_ns = wall_offset_ns

    def now(self) -> Instant:
        """Read both clocks."""
        elapsed = self._elapsed(self.scheduler.now_ns)
        return Instant(self.boot_offset_ns + elapsed, WALL_START_NS + self.wall_offset_ns + elapsed)

    def boot_ns(self) -> int:
        """Read the boot clock."""
        return self.boot_offset_ns + self._elapsed(self.scheduler.now_ns)

    def true_ns(self, boot_ns: int) -> int:
        """Return the true time at which the boot clock shows at least `boot_ns`."""
        true = (boot_ns - self.boot_offset_ns) * PPM // (PPM + self.drift_ppm)
        while self.boot_offset_ns + self._elapsed(true) < boot_ns:
            true += 1
        return true

    def step_wall(self, step_ns: int) -> None:
        """Set the wall clock forwards or back, as an administrator or a time daemon does."""
        self.wall_offset_ns += step_ns

    def _elapsed(self, true_ns: int) -> int:
        return true_ns + true_ns * self.drift_ppm // PPM
