"""The configuration manager of one shard, as a machine (skeleton)."""

from __future__ import annotations

from daycache_ray.words.messages import CoordinatorEffect, CoordinatorInput, CoordinatorState
from daycache_ray.words.types import Instant, ShardId


class ShardCoordinator:
    """Agrees configurations by compare-and-set on the epoch.

    `seat_count` is the number of replicas that the region wants. `state` is what an earlier life
    persisted last, or None.
    """

    def __init__(self, shard: ShardId, seat_count: int, state: CoordinatorState | None = None) -> None:
        self.state = state if state is not None else CoordinatorState(shard)
        self.seat_count = seat_count

    def handle(self, message: CoordinatorInput, now: Instant) -> tuple[CoordinatorEffect, ...]:
        """Return the effects of one message; perform them in order."""
        raise NotImplementedError
