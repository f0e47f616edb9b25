"""One seeded run: a shard, its coordinator, clients and faults; then heal, quiet, and the final checks."""

from __future__ import annotations

from typing import NamedTuple

from daycache_ray.protocol.replica import ReplicaSettings
from daycache_ray.simulation.checkers import Checks
from daycache_ray.simulation.clocks import NodeClock
from daycache_ray.simulation.history import Told
from daycache_ray.simulation.network import MS, Network
from daycache_ray.simulation.node import SimulatedNode
from daycache_ray.simulation.scheduler import Scheduler
from daycache_ray.simulation.seats import SimulatedCoordinator
from daycache_ray.simulation.swarm import Narrowing, Swarm, draw
from daycache_ray.simulation.trouble import Trouble
from daycache_ray.simulation.truth import Violation
from daycache_ray.simulation.workload import Client
from daycache_ray.words.types import Role, ShardId

TROUBLE_NS = 3_500 * MS
HEALING_NS = 8_000 * MS
QUIET_NS = 1_500 * MS
EVENTS_MAX = 600_000
WHOLE = Narrowing()


class RunFigures(NamedTuple):
    """What one run did; `branches` counts the rare branches of the rules."""

    seed: int
    events_count: int
    calls_count: int
    records_count: int
    terms_count: int
    faults: dict[str, int]
    lost_eventual_count: int
    undecided_count: int
    branches: dict[str, int]


class World:
    """Everything of one run; two worlds of one seed and rule set are the same history."""

    def __init__(
        self, seed: int, without: frozenset[str] = frozenset(), swarm: Swarm | None = None,
        trouble_ns: int = TROUBLE_NS, narrowing: Narrowing = WHOLE,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.without = without
        self.history: list[Told] | None = None
        """What clients heard, if it is to be kept."""
        self.scheduler = Scheduler(seed)
        random = self.scheduler.random
        self.swarm = narrowing.of(swarm if swarm is not None else draw(random, trouble_ns))
        self.network = Network(self.scheduler, self.swarm.network)
        shard = ShardId("simulated", 0)
        settings = ReplicaSettings(
            strong_copies=self.swarm.strong_copies, without=without, copy_bytes_max=2_000,
            log_records_kept=self.swarm.log_records_kept, prepare_records_max=16,
        )  # fmt: skip
        self.nodes: list[SimulatedNode] = []
        for seat in range(self.swarm.members_count):
            drift = random.randint(-self.swarm.drift_ppm, self.swarm.drift_ppm)
            spread = self.swarm.wall_spread_ns
            clock = NodeClock(
                self.scheduler, drift, random.randrange(10**6, 10**12), random.randint(-spread, spread) if spread else 0
            )
            self.nodes.append(SimulatedNode(shard, seat, settings, self.scheduler, self.network, clock))
        self.coordinator = SimulatedCoordinator(shard, self.nodes, self.scheduler, self.network, without)
        self.coordinator.slow_ns_max = self.swarm.slow_configuration_ns
        self.checks = Checks(self.nodes, self.swarm.strong_copies)
        self.coordinator.checks = self.checks
        for node in self.nodes:
            node.checks, node.coordinator, node.peers = self.checks, self.coordinator, self.nodes
            node.evicts = self.swarm.evicts
        self.clients = [Client(self, 1 + number, self.swarm.mix) for number in range(self.swarm.mix.clients_count)]
        self.trouble = Trouble(self)

    def begin(self) -> None:
        """Start the nodes and the clients."""
        for node in self.nodes:
            self.scheduler.after(self.scheduler.random.randrange(20 * MS), node.start)
        for client in self.clients:
            client.begin()

    def run(self) -> RunFigures:
        """Play the seed to its end.

        Raises:
            Violation: a promise was broken; the message is the evidence.
        """
        self.begin()
        self.trouble.begin()
        self.scheduler.run(self.swarm.trouble_ns, EVENTS_MAX)
        self.trouble.heal()
        self._heal()
        return self.finish()

    def _heal(self) -> None:
        """Within the time for healing: a primary with a lease, the full set, and new STRONG writes."""
        start_ns, acks = self.scheduler.now_ns, len(self.checks.strong_acks)
        while not self._whole() or len(self.checks.strong_acks) == acks:
            if self.scheduler.now_ns - start_ns > HEALING_NS:
                raise Violation(
                    f"{HEALING_NS / 1e9} s after the trouble: {len(self.checks.strong_acks) - acks} STRONG writes, "
                    f"{self.coordinator.configuration}, "
                    f"{[(str(node), node.machine and node.machine.statistics()) for node in self.nodes]}"
                )
            self.scheduler.run(self.scheduler.now_ns + 100 * MS, EVENTS_MAX)

    def _whole(self) -> bool:
        c = self.coordinator.configuration
        return c is not None and len(c.in_sync) == len(self.nodes) and any(node.leased() for node in self.nodes)

    def finish(self) -> RunFigures:
        """Stop the clients, wait, and check what is left."""
        for client in self.clients:
            client.stopped = True
        for node in self.nodes:
            node.evicts = False
        self.scheduler.run(self.scheduler.now_ns + QUIET_NS, EVENTS_MAX)
        # The expiry horizon goes on for ever; what it wrote last may be on its way.
        for _ in range(50):
            if len({node.store.commit_lsn for node in self.nodes}) == 1:
                break
            self.scheduler.run(self.scheduler.now_ns + 3 * MS, EVENTS_MAX)
        assert any(node.machine is not None and node.machine.role == Role.PRIMARY for node in self.nodes)
        self.checks.finish()
        branches: dict[str, int] = {}
        for node in self.nodes:
            for branch, count in node.finish().items():
                branches[branch] = branches.get(branch, 0) + count
        return RunFigures(
            self.seed,
            self.scheduler.events_count,
            sum(client.done_count for client in self.clients),
            self.checks.truth.top_lsn,
            len({record.epoch for record in self.checks.truth.records.values()}),
            {**self.trouble.kinds, "coordinator's write lost": self.coordinator.lost_writes_count,
             **self.network.counts},
            self.checks.lost_eventual_count,
            self.checks.undecided_count,
            branches,
        )
