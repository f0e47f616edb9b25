"""Make a failing seed smaller: fewer kinds of faults, fewer faults, clients, keys and less time, as long as it fails.

The narrowed run is another history of the same seed; it counts when it fails with the same kind of error.
"""

from __future__ import annotations

from collections.abc import Iterator

from daycache_ray.simulation.series import Failure, failure_of
from daycache_ray.simulation.swarm import Narrowing
from daycache_ray.simulation.world import WHOLE, World

TRIES_MAX = 60


def shrink(failure: Failure, without: frozenset[str] = frozenset()) -> tuple[Narrowing, Failure]:
    """Return the smallest narrowing found that still fails with an error of the same kind, and how it fails."""
    swarm = World(failure.seed, without).swarm
    best = WHOLE._replace(
        faults=swarm.faults, faults_max=64, clients=swarm.mix.clients_count, keys=swarm.mix.keys_count,
        trouble_ms=swarm.trouble_ns // 1_000_000,
    )  # fmt: skip
    found = failure_of(failure.seed, without, best)
    if found is None or found.kind != failure.kind:
        return WHOLE, failure
    tries = 0
    progress = True
    while progress and tries < TRIES_MAX:
        progress = False
        for smaller in _smaller(best):
            tries += 1
            other = failure_of(failure.seed, without, smaller)
            if other is not None and other.kind == failure.kind:
                best, found, progress = smaller, other, True
                break
            if tries >= TRIES_MAX:
                break
    return best, found


def _smaller(narrowing: Narrowing) -> Iterator[Narrowing]:
    faults = narrowing.faults or ()
    if faults:
        yield narrowing._replace(faults=())
    if (most := narrowing.faults_max or 0) > 1:
        yield narrowing._replace(faults_max=most // 2)
    if (clients := narrowing.clients or 0) > 1:
        yield narrowing._replace(clients=clients // 2)
    if (milliseconds := narrowing.trouble_ms or 0) > 250:
        yield narrowing._replace(trouble_ms=milliseconds // 2)
        yield narrowing._replace(trouble_ms=milliseconds * 3 // 4)
    if (keys := narrowing.keys or 0) > 1:
        yield narrowing._replace(keys=keys // 2)
    for fault in faults:
        yield narrowing._replace(faults=tuple(one for one in faults if one != fault))
    if most > 1:
        yield narrowing._replace(faults_max=most - 1)
