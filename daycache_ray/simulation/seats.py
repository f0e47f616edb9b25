"""The coordinator's process in the simulated world: a durable state, messages that may be lost, crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daycache_ray.protocol.coordinator import ShardCoordinator
from daycache_ray.simulation.network import MS, Network
from daycache_ray.simulation.scheduler import Scheduler
from daycache_ray.words.messages import Configuration, CoordinatorState, Persist, Registered, SendConfigure
from daycache_ray.words.types import Instant, ShardId

if TYPE_CHECKING:
    from daycache_ray.simulation.checkers import Checks
    from daycache_ray.simulation.node import SimulatedNode


class SimulatedCoordinator:
    """Keeps one shard's configurations; what it persisted outlives a crash."""

    checks: Checks

    def __init__(
        self, shard: ShardId, nodes: list[SimulatedNode], scheduler: Scheduler, network: Network,
        without: frozenset[str],
    ) -> None:  # fmt: skip
        self.shard = shard
        self.nodes = nodes
        self.scheduler = scheduler
        self.network = network
        self.without = without
        self.saved: CoordinatorState | None = None
        self.machine: ShardCoordinator | None = ShardCoordinator(shard, len(nodes), None, without)
        self.lost_writes_count = 0
        self.slow_ns_max = 0
        """Configuration traffic is later by up to this."""

    @property
    def configuration(self) -> Configuration | None:
        """What is agreed and saved."""
        return self.saved.configuration if self.saved is not None else None

    def crash(self, duration_ns: int) -> None:
        """Die, and come back after a while with what was persisted."""
        self.machine = None
        self.scheduler.after(duration_ns, self._restart)

    def _restart(self) -> None:
        if self.machine is None:
            self.machine = ShardCoordinator(self.shard, len(self.nodes), self.saved, self.without)

    def receive(self, message: Any, sender: SimulatedNode, life: int) -> None:
        """A replica's message arrives; some turns are cut short right before or after the state is saved (R35)."""
        if self.machine is None:
            return
        for effect in self.machine.handle(message, Instant(self.scheduler.now_ns, self.scheduler.now_ns)):
            if isinstance(effect, Persist):
                dies = self.slow_ns_max > 0 and self.scheduler.random.random() < 0.05
                lost = dies and self.scheduler.random.random() < 0.5
                if lost and "R35" not in self.without:
                    self.lost_writes_count += 1
                    self.crash(300 * MS)
                    return
                if effect.state.configuration is not None:
                    self.checks.configured(effect.state.configuration)
                if lost:
                    self.crash(300 * MS)
                    continue
                self.saved = effect.state
                if dies:
                    self.crash(300 * MS)
                    return
            elif isinstance(effect, Registered):
                self.network.send(-1, sender.seat, sender.registered, effect, life)
            elif isinstance(effect, SendConfigure):
                late = int(self.scheduler.random.random() ** 3 * self.slow_ns_max)
                node = self.nodes[effect.member.seat]
                self.scheduler.after(late, self.network.send, -1, node.seat, node.receive, effect.message)
