"""The two clocks of a node, read in one place."""

import time

from daycache_ray.words.types import Instant


def read_clocks() -> Instant:
    """Return this node's two clocks: one that never steps, and the wall's."""
    return Instant(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())
