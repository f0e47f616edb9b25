"""One replica of one shard, as a machine that decides and never acts (skeleton)."""

from __future__ import annotations

from daycache_ray.protocol.settings import ReplicaSettings
from daycache_ray.words.effects import Effect
from daycache_ray.words.messages import Configuration, ReplicaMessage
from daycache_ray.words.ports import StateView
from daycache_ray.words.records import Recovered
from daycache_ray.words.types import Instant, Member, Role, ShardId


class ShardReplica:
    """Give it messages and the time; perform the effects that it returns, in order."""

    def __init__(
        self,
        shard: ShardId,
        member: Member,
        settings: ReplicaSettings,
        recovered: Recovered,
        view: StateView,
        now: Instant,
    ) -> None:
        self.shard = shard
        self.member = member
        self.settings = settings
        self.role = Role.NONE
        self.configuration: Configuration | None = None
        self.epoch = 0
        self.last_lsn = 0
        self.held_lsn = 0
        self.commit_lsn = 0
        self.applied_lsn = 0
        self.horizon_ns = 0
        self.lease_until_ns = 0

    def handle(self, message: ReplicaMessage, now: Instant) -> tuple[Effect, ...]:
        """Return the effects of one message."""
        raise NotImplementedError

    def tick(self, now: Instant) -> tuple[Effect, ...]:
        """Return the effects of time having passed."""
        raise NotImplementedError

    def next_tick_ns(self) -> int:
        """Return the boot time at which `tick` must be called at the latest."""
        raise NotImplementedError
