"""What goes wrong in a run: crashes, wipes, pauses, cuts, clock steps, a coordinator that dies, fencing.

A store is wiped only while another in-sync store is left: a run is not about total loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daycache_ray.simulation.network import MS
from daycache_ray.words.messages import PeerFenced, PeerGone, Prepare
from daycache_ray.words.types import Role

if TYPE_CHECKING:
    from daycache_ray.simulation.node import SimulatedNode
    from daycache_ray.simulation.world import World

COORDINATOR = -1
CLIENTS = 1000


class Trouble:
    """Draws faults until it is told to heal."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.scheduler.random
        self.healed = False
        self.count = 0
        self.kinds: dict[str, int] = {}
        """How many faults of each kind came."""

    def begin(self) -> None:
        """Let the first fault come when the shard had time to form."""
        if self.world.swarm.faults:
            self.world.scheduler.after(300 * MS + self._gap(), self._next)

    def heal(self) -> None:
        """End all trouble: everybody runs, everything arrives."""
        self.healed = True
        world = self.world
        world.network.heal()
        world.coordinator.slow_ns_max = 0
        world.coordinator._restart()
        for node in world.nodes:
            node.paused_until_ns = min(node.paused_until_ns, world.scheduler.now_ns)
            node.crash_in = None
            node.start()

    def _gap(self) -> int:
        return 1 + int(self.random.expovariate(1.0 / self.world.swarm.fault_every_ns))

    def _next(self) -> None:
        if self.healed or self.count >= self.world.swarm.faults_max:
            return
        self.count += 1
        fault = self.random.choice(self.world.swarm.faults)
        self.kinds[fault] = self.kinds.get(fault, 0) + 1
        getattr(self, f"_{fault}")(self.random.choice(self.world.nodes))
        self.world.scheduler.after(self._gap(), self._next)

    def _later(self, low_ms: int, high_ms: int) -> int:
        return self.random.randrange(low_ms, high_ms) * MS

    # ------------------------------------------------------------------ processes

    def _crash(self, node: SimulatedNode) -> None:
        node.crash()
        self.world.scheduler.after(self._later(1, 1_500), node.start)

    def _aim(self, node: SimulatedNode) -> None:
        """Crash between two effects of one turn."""
        node.crash_in = self.random.randrange(4)
        self.world.scheduler.after(self._later(20, 1_500), node.start)

    def _wipe(self, node: SimulatedNode) -> None:
        if self._other_store_in_sync(node):
            node.wipe()
            self.world.scheduler.after(self._later(1, 1_500), node.start)

    def _other_store_in_sync(self, node: SimulatedNode) -> bool:
        saved = self.world.coordinator.saved
        if saved is None or saved.configuration is None:
            return False
        store_ids = {seat.seat: seat.store_id for seat in saved.seats}
        return any(
            member.seat != node.seat and self.world.nodes[member.seat].store.store_id == store_ids[member.seat]
            for member in saved.configuration.in_sync
        )

    def _pause(self, node: SimulatedNode) -> None:
        node.pause(self._later(20, 1_800))

    def _step(self, node: SimulatedNode) -> None:
        node.clock.step_wall(self.random.randint(-2_000, 2_000) * MS)

    def _coordinator(self, node: SimulatedNode) -> None:
        self.world.coordinator.crash(self._later(50, 2_000))

    def _fence(self, node: SimulatedNode) -> None:
        """Kill the primary and prove it: lock, revoke, salvage, then tell a secondary (R33)."""
        primary = next((n for n in self.world.nodes if n.machine is not None and n.machine.role == Role.PRIMARY), None)
        if primary is None or primary.member is None:
            return
        primary.crash()
        member, life = primary.member, primary.life
        self.world.scheduler.after(self._later(1, 30), self._salvage, primary, member, life)
        self.world.scheduler.after(self._later(40, 1_500), primary.start)

    def _salvage(self, primary: SimulatedNode, member: object, life: int) -> None:
        if primary.life != life or primary.member != member or primary.member is None:
            return
        primary.revoke()
        heirs = [n for n in self.world.nodes if n.machine is not None and n.machine.role == Role.SECONDARY]
        if not heirs:
            return
        heir, store = self.random.choice(heirs), primary.store
        machine = heir.machine
        assert machine is not None
        last = machine.last_lsn
        epoch = store.epoch_at(last)
        c = machine.configuration
        if c is None or c.primary != member or machine.member not in c.in_sync:
            return  # As the shell does: a deposed primary's log is no business of the next one's followers.
        if epoch is not None and self.random.random() < 0.8:
            records = tuple(store.records[last - store.base_lsn :])
            heir.receive(
                Prepare(primary.member, c.epoch, c.term, last, epoch, records, machine.commit_lsn, store.last_lsn, 0)
            )
        heir.receive(PeerFenced(primary.member))

    # ------------------------------------------------------------------ network

    def _cut(self, node: SimulatedNode) -> None:
        """Cut one way, or both, between a node and somebody else."""
        others = [n.seat for n in self.world.nodes if n is not node] + [COORDINATOR, CLIENTS]
        other = self.random.choice(others)
        pairs = [(node.seat, other)] if self.random.random() < 0.5 else [(node.seat, other), (other, node.seat)]
        self._cut_for(pairs, node)

    def _island(self, node: SimulatedNode) -> None:
        """Cut a node off from its peers and the coordinator; clients still reach it."""
        others = [n.seat for n in self.world.nodes if n is not node] + [COORDINATOR]
        self._cut_for([pair for other in others for pair in ((node.seat, other), (other, node.seat))], node)

    def _cut_for(self, pairs: list[tuple[int, int]], node: SimulatedNode) -> None:
        network = self.world.network
        for pair in pairs:
            network.cut(*pair)
        self.world.scheduler.after(self._later(50, 2_500), self._mend, pairs)
        for peer in self.world.nodes:
            if peer is not node and node.member is not None:
                peer.receive(PeerGone(node.member))

    def _mend(self, pairs: list[tuple[int, int]]) -> None:
        for pair in pairs:
            self.world.network.cuts.discard(pair)
