"""Checks that run beside the simulation, each O(1) or nearly: leases, copies, floors, order, values.

The floor of a key is the newest place in its history that a finished STRONG call has shown. A STRONG
call that began later must not be behind it. This is blind to a request that is applied twice (the
versions still rise): the truth's table of requests and the linearizability of single keys see that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from daycache_ray.simulation.linearizability import Call, Undecided, is_linearizable
from daycache_ray.simulation.truth import Place, Truth, Violation
from daycache_ray.words.effects import PublishFence
from daycache_ray.words.operations import OperationResult
from daycache_ray.words.records import LogRecord
from daycache_ray.words.types import Role

if TYPE_CHECKING:
    from daycache_ray.simulation.node import SimulatedNode
    from daycache_ray.words.messages import Configuration

NOWHERE = Place(0)


class EventualAck(NamedTuple):
    """An EVENTUAL write that was acknowledged: it may be lost with a failover, and with nothing else."""

    epoch: int
    lsn: int
    answered_ns: int


class Checks:
    """Everything that one run promises."""

    def __init__(self, nodes: list[SimulatedNode], strong_copies: int) -> None:
        self.nodes = nodes
        self.strong_copies = strong_copies
        self.truth = Truth()
        self.floors: dict[bytes, Place] = {}
        self.strong_acks: list[tuple[int, int]] = []
        self.eventual_acks: list[EventualAck] = []
        self.configurations: dict[int, tuple[object, ...]] = {}
        self.calls: dict[bytes, list[Call]] = {}
        self.leased_since: dict[int, int] = {}
        """By term: when its primary first had the lease, in true time."""
        self.undecided_count = 0
        self.lost_eventual_count = 0

    # ------------------------------------------------------------------ replicas

    def settled(self, node: SimulatedNode, lsn: int) -> None:
        """A node's store is about to hear that everything up to `lsn` is final."""
        store = node.store
        for place in range(max(node.settled_lsn, store.base_lsn) + 1, lsn + 1):
            self.truth.settle(store.records[place - store.base_lsn - 1], str(node))
        node.settled_lsn = max(node.settled_lsn, lsn)

    def published(self, node: SimulatedNode, old: PublishFence | None, new: PublishFence) -> None:
        """A node shows new numbers to readers (invariants 1, 5, 7)."""
        if old is not None and old.incarnation == new.incarnation:
            if new.epoch < old.epoch or new.horizon_ns < old.horizon_ns:
                raise Violation(f"{node}: epoch or horizon went back, {old} then {new}")
            if new.epoch == old.epoch and new.commit_lsn < old.commit_lsn and new.role != Role.JOINING:
                raise Violation(f"{node}: the commit went back, {old} then {new}")
        if new.role == Role.SECONDARY and new.fresh_ns:
            self._as_fresh_as_said(node, new)
        if new.role == Role.PRIMARY:
            self._one_lease(node, new)
            if new.commit_lsn > self.truth.commit_lsn:
                self._copies(new)

    def _as_fresh_as_said(self, node: SimulatedNode, new: PublishFence) -> None:
        """What the primary of this term answered before the moment that a secondary names is visible there."""
        said_ns = node.clock.true_ns(new.fresh_ns)
        for ack in self.eventual_acks[-32:]:
            if ack.epoch == new.epoch and ack.answered_ns < said_ns and ack.lsn > new.applied_lsn:
                raise Violation(f"{node} shows {new.applied_lsn} as of {said_ns}, but {ack} was before that")

    def _one_lease(self, node: SimulatedNode, new: PublishFence) -> None:
        if new.lease_until_ns <= node.clock.boot_ns():
            return
        self.leased_since.setdefault(new.epoch, node.scheduler.now_ns)
        for other in self.nodes:
            if other is not node and other.leased():
                raise Violation(f"two leases: {node} in epoch {new.epoch}, and {other} with {other.fence}")

    def _copies(self, new: PublishFence) -> None:
        truth, lsn = self.truth, new.commit_lsn
        if lsn > truth.top_lsn:
            raise Violation(f"commit {lsn} published, but only {truth.top_lsn} is settled")
        epoch = truth.records[lsn].epoch
        # A copy that was wiped after it was acknowledged was a copy: its loss is a fault of its own.
        copies = [node for node in self.nodes if node.has_held(lsn, epoch)]
        if len(copies) < self.strong_copies:
            raise Violation(f"record {lsn} is committed on {len(copies)} copies, promised are {self.strong_copies}")
        truth.commit_lsn = lsn

    def configured(self, configuration: Configuration) -> None:
        """The coordinator agreed a configuration (invariants 2, 6)."""
        c = configuration
        content = (c.primary, c.in_sync, c.term)
        if self.configurations.setdefault(c.epoch, content) != content:
            raise Violation(f"two configurations of epoch {c.epoch}: {self.configurations[c.epoch]} and {content}")
        lsn = self.truth.commit_lsn
        if not lsn:
            return
        epoch = self.truth.records[lsn].epoch
        for member in c.in_sync:
            node = self.nodes[member.seat]
            if node.member == member and not node.store.holds(lsn, epoch):
                raise Violation(f"{member} is in sync in epoch {c.epoch} without the committed record {lsn}")

    def visible(self, node: SimulatedNode) -> None:
        """What a node shows is the settled log, plus what is not settled yet and can be undone (invariant 8)."""
        store, truth = node.store, self.truth
        low = store.commit_lsn
        # A copy may be ahead of its own base: it shows what was settled when it was finished.
        high = max(low, node.copied_lsn)
        for key in {*store.entries, *truth.history}:
            entry = store.entries.get(key)
            version = (entry.epoch, entry.lsn) if entry is not None else None
            if truth.shown_within(key, version, low, high):
                continue
            if entry is not None and entry.lsn > low and store.epoch_at(entry.lsn) == entry.epoch:
                continue
            if entry is None and store.removed.get(key, 0) > low:
                continue
            shown = truth.shows(key, low)
            settled = None if shown is None else (shown.epoch, shown.lsn)
            raise Violation(f"{node} shows {version} for {key!r}; settled up to {low} is {settled}")

    # ------------------------------------------------------------------ clients

    def floor(self, key: bytes) -> Place:
        """Return what a STRONG call that begins now must not be behind."""
        return self.floors.get(key, NOWHERE)

    def read(self, key: bytes, floor: Place, version: tuple[int, int] | None, value: bytes | None, who: str) -> None:
        """A STRONG read, or a refused condition, showed this version, or None for nothing."""
        if version is None:
            place = self.truth.absent_since(key, floor)
            if place is None:
                raise Violation(f"{who} found nothing under {key!r} after {floor}")
        else:
            epoch, lsn = version
            place = Place(lsn)
            if place < floor:
                raise Violation(f"{who} read {key!r} of {version}, older than {floor}")
            record = self._committed(epoch, lsn, f"{who} read {key!r}")
            if record.key != key or (value is not None and record.value != value):
                raise Violation(f"{who} read {key!r} of {version} as {value!r}, written was {record.value!r}")
        self._raise_floor(key, place)

    def written(self, key: bytes, floor: Place, result: OperationResult, client: int, sequence: int) -> None:
        """A STRONG write was acknowledged."""
        who = f"client {client}.{sequence}"
        record = self._committed(result.epoch, result.lsn, f"{who} wrote {key!r}")
        if (record.client, record.sequence) != (client, sequence):
            raise Violation(f"{who} was told {result.epoch}.{result.lsn}, which is another's record")
        if Place(result.lsn) <= floor:
            raise Violation(f"{who} wrote {key!r} at {result.lsn}, behind {floor}")
        self.strong_acks.append((result.epoch, result.lsn))
        self._raise_floor(key, Place(result.lsn))

    def _committed(self, epoch: int, lsn: int, what: str) -> LogRecord:
        record = self.truth.records.get(lsn)
        if record is None or record.epoch != epoch or lsn > self.truth.commit_lsn:
            raise Violation(f"{what} of {epoch}.{lsn}, which is not committed")
        return record

    def _raise_floor(self, key: bytes, place: Place) -> None:
        if place > self.floors.get(key, NOWHERE):
            self.floors[key] = place

    # ------------------------------------------------------------------ the end

    def finish(self) -> None:
        """After heal and quiet: equal stores, nothing STRONG lost, every single key linearizable."""
        top = self.truth.top_lsn
        for node in self.nodes:
            self.visible(node)
            if node.store.commit_lsn != top:
                raise Violation(f"{node} has settled {node.store.commit_lsn} of {top} after the quiet")
        for epoch, lsn in self.strong_acks:
            if self.truth.records[lsn].epoch != epoch:
                raise Violation(f"the acknowledged STRONG write {epoch}.{lsn} is lost")
        final_term = max(node.fence.epoch for node in self.nodes if node.fence is not None)
        for ack in self.eventual_acks:
            record = self.truth.records.get(ack.lsn)
            if record is None or record.epoch != ack.epoch:
                self.lost_eventual_count += 1
                if ack.epoch == final_term:
                    raise Violation(f"the EVENTUAL write {ack} is lost without a failover")
                if any(term > ack.epoch and since <= ack.answered_ns for term, since in self.leased_since.items()):
                    raise Violation(f"the lost EVENTUAL write {ack} was taken while another primary had the lease")
        for key, calls in self.calls.items():
            try:
                if not is_linearizable(calls):
                    raise Violation(f"{len(calls)} calls on {key!r} fit no single copy")
            except Undecided:
                self.undecided_count += 1
