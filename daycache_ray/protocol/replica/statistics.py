"""What a replica counts."""

from __future__ import annotations

from typing import NamedTuple

from daycache_ray.words.types import Role


class ReplicaFigures(NamedTuple):
    """Figures of one replica; `lag_records` is how far the slowest required member is behind its primary.

    `branches` counts how often each rare branch of a rule was taken, by the rule's name.
    """

    role: Role
    epoch: int
    last_lsn: int
    held_lsn: int
    commit_lsn: int
    applied_lsn: int
    in_sync_count: int
    lag_records: int
    branches: dict[str, int]
