"""Clients of the simulated world: they retry, give up, read in shared memory, and write down what they heard.

A client has one call at a time. Every value is written once, so a read says which write it saw. Keys come
in four kinds: `s` only STRONG calls (their history must be linearizable), `n` a counter, STRONG too, `t` written with a
tag of its own, whose invalidation is one more way to delete it, and `m` everything mixed, with TTLs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from daycache_ray.simulation.calls import call_told
from daycache_ray.simulation.checkers import EventualAck
from daycache_ray.simulation.history import told
from daycache_ray.simulation.linearizability import FOREVER
from daycache_ray.simulation.network import MS
from daycache_ray.simulation.truth import Place, Violation
from daycache_ray.structures.tags import TAGGED, pack_tags, row_key
from daycache_ray.words.messages import ReadAt, Submit
from daycache_ray.words.operations import Level, Operation, OperationKind, OperationResult, Outcome
from daycache_ray.words.records import Codec

if TYPE_CHECKING:
    from daycache_ray.simulation.node import SimulatedNode
    from daycache_ray.simulation.world import World

ATTEMPT_NS = 250 * MS
CALL_NS = 1_500 * MS
BATCH_MAX = 12


class Mix(NamedTuple):
    """What clients do; ratios of all calls, the rest are SETs."""

    keys_count: int
    clients_count: int
    strong_ratio: float
    read_ratio: float
    condition_ratio: float
    ttl_ratio: float
    single_ratio: float
    """Calls on keys of the kinds `s` and `n`."""
    think_ns: int
    tagged_ratio: float = 0.0
    """Calls on keys of the kind `t`."""
    batch_ratio: float = 0.0
    """Calls of several operations in one message."""


class Part(NamedTuple):
    """One operation of a call; None: a read. `floor` is what it must not be behind if it is STRONG."""

    key: bytes
    floor: Place
    operation: Operation | None


class Client:
    """One client with one call in flight, which has one operation or several."""

    def __init__(self, world: World, number: int, mix: Mix) -> None:
        self.world = world
        self.random = world.scheduler.random
        self.number = number
        self.mix = mix
        self.sequence = 0
        self.call_id = 0
        self.attempt = 0
        self.guess = 0
        self.values = 0
        self.ended = True
        self.stopped = False
        self.parts: list[Part] = []
        self.watched = False
        self.attempt_ns = 0
        self.session: tuple[int, int] = (0, 0)
        self.written: dict[bytes, tuple[int, int]] = {}
        self.done_count = 0
        self.seen_versions: dict[bytes, tuple[int, int]] = {}

    def begin(self) -> None:
        """Think, then call, for ever."""
        self.world.scheduler.after(1 + int(self.random.expovariate(1.0 / self.mix.think_ns)), self._call)

    # ------------------------------------------------------------------ choosing

    def _call(self) -> None:
        if self.stopped:
            return
        random, mix = self.random, self.mix
        tagged = mix.tagged_ratio > 0 and random.random() < mix.tagged_ratio
        single = tagged or random.random() < mix.single_ratio
        self.level = Level.STRONG if single or random.random() < mix.strong_ratio else Level.EVENTUAL
        self.start_ns = self.world.scheduler.now_ns
        self.call_id += 1
        self.attempt = 0
        self.ended = False
        reads = random.random() < mix.read_ratio
        count = random.randrange(2, BATCH_MAX) if not tagged and random.random() < mix.batch_ratio else 1
        self.first_sequence = self.sequence + 1
        self.parts = [self._part(tagged, single, reads) for _ in range(count)]
        if count == 1 and reads and self.level == Level.STRONG and random.random() < 0.3:
            self._read_memory(self.call_id)
        else:
            self._try(self.call_id)
        if not self.watched and not self.ended:
            self.watched = True
            self.world.scheduler.after(ATTEMPT_NS, self._watch)

    def _part(self, tagged: bool, single: bool, reads: bool) -> Part:
        random, keys = self.random, self.mix.keys_count
        if tagged:
            key = b"t%c\0" % random.randrange(65, 68)
        elif single:
            kind = b"n%d" if random.random() < 0.2 else b"s%d"
            key = kind % random.randrange(1 + keys // 4)
        else:
            key = b"m%d" % int(keys * random.random() ** 2)
        if reads:
            return Part(key, self.world.checks.floor(key), None)
        self.sequence += 1
        return Part(key, self.world.checks.floor(key), self._operation(key, single))

    def _operation(self, key: bytes, single: bool) -> Operation:
        random, mix = self.random, self.mix
        self.values += 1
        value = b"%d.%d" % (self.number, self.values)
        ttl = 0 if single or random.random() >= mix.ttl_ratio else random.randrange(30 * MS, 2_000 * MS)
        if key[:1] == b"t":
            return self._tagged_operation(key, value)
        if key[:1] == b"n":
            return Operation(OperationKind.INCREMENT, key, ttl_ns=-1, delta=random.randrange(1, 5))
        if random.random() >= mix.condition_ratio:
            return Operation(OperationKind.SET, key, value, Codec.BYTES, 0, ttl)
        kinds = [OperationKind.ADD, OperationKind.DELETE, OperationKind.COMPARE_AND_SET]
        if not single:
            kinds.append(OperationKind.TOUCH)
        kind = random.choice(kinds)
        epoch, lsn = self.seen_versions.get(key, (0, 0)) if kind == OperationKind.COMPARE_AND_SET else (0, 0)
        return Operation(kind, key, value, Codec.BYTES, 0, ttl, epoch, lsn)

    def _tagged_operation(self, key: bytes, value: bytes) -> Operation:
        tag = key[1:2]
        if self.random.random() < 0.6:
            return Operation(OperationKind.SET, key, pack_tags([tag]) + value, Codec.BYTES, TAGGED)
        if self.random.random() < 0.3:
            self.level = Level.EVENTUAL  # Acknowledged, and lost with a failover perhaps: no STRONG read may tell.
        return Operation(OperationKind.INVALIDATE_TAG, row_key(b"\0", tag))

    # ------------------------------------------------------------------ trying

    def _try(self, call_id: int) -> None:
        if call_id != self.call_id or self.ended:
            return
        self.attempt += 1
        attempt = self.attempt
        node = self.world.nodes[self.guess % len(self.world.nodes)]

        def reply(word: str, value: Any) -> None:
            self._heard(call_id, attempt, word, value)

        if self.parts[0].operation is None:
            epoch, lsn = self.session if self.level == Level.EVENTUAL else (0, 0)
            message: Any = ReadAt(0, tuple([part.key for part in self.parts]), int(self.level), epoch, lsn)
        else:
            operations = tuple([part.operation for part in self.parts if part.operation is not None])
            message = Submit(0, operations, int(self.level), self.number, self.first_sequence, self.first_sequence)
        self.attempt_ns = self.world.scheduler.now_ns
        self.world.network.send(1000, node.seat, node.request, message, reply)

    def _watch(self) -> None:
        """Try again after a silence, give up after a longer one; one timer for all calls, it may come late."""
        if self.ended:
            self.watched = False
            return
        scheduler = self.world.scheduler
        now_ns = scheduler.now_ns
        if now_ns - self.start_ns >= CALL_NS:
            self.watched = False
            self._give_up()
            return
        if now_ns - max(self.attempt_ns, self.start_ns) >= ATTEMPT_NS:
            self._look_up()
            self._try(self.call_id)
        due_ns = max(self.attempt_ns, self.start_ns) + ATTEMPT_NS
        scheduler.at(min(due_ns, self.start_ns + CALL_NS), self._watch)

    def _look_up(self) -> None:
        configuration = self.world.coordinator.configuration
        if configuration is not None and self.random.random() < 0.8:
            self.guess = configuration.primary.seat
        else:
            self.guess = self.random.randrange(len(self.world.nodes))

    def _heard(self, call_id: int, attempt: int, word: str, value: Any) -> None:
        if call_id != self.call_id or attempt != self.attempt or self.ended:
            return
        if word == "done":
            results, answered_ns = value
            for place, result in enumerate(results):
                self._written(place, result, answered_ns)
            self._end()
        elif word == "read":
            entries, epoch, lsn = value
            for part, entry in zip(self.parts, entries, strict=True):
                self._read(part, entry, (epoch, lsn))
            self._end()
        else:
            self._look_up()
            self.world.scheduler.after(self.random.randrange(5 * MS, 60 * MS), self._try, call_id)

    def _give_up(self) -> None:
        for place, part in enumerate(self.parts):
            self._note(part, known=False)
            self._tell(place, part, None, "unknown")
        self._end()

    def _end(self) -> None:
        self.ended = True
        self.begin()

    # ------------------------------------------------------------------ reading in shared memory

    def _read_memory(self, call_id: int) -> None:
        """Three steps, with pauses between: the fence page, the record, the fence page again (R14)."""
        node = self.world.nodes[self.random.randrange(len(self.world.nodes))]
        before, generation = node.fence, node.generation
        if not node.leased() or before is None:
            self._try(call_id)
            return
        self.world.scheduler.after(self._reader_pause(), self._read_record, call_id, node, before, generation)

    def _reader_pause(self) -> int:
        return 5_000 if self.random.random() < 0.9 else self.random.randrange(900 * MS)

    def _read_record(self, call_id: int, node: SimulatedNode, before: Any, generation: int) -> None:
        entry = node.store.entries.get(self.parts[0].key) if node.generation == generation else None
        if entry is not None and entry.flags & TAGGED:
            self._try(call_id)  # Record and rows in one look: tests/unit/client has that.
            return
        self.world.scheduler.after(self._reader_pause(), self._check_lease, call_id, node, before, generation, entry)

    def _check_lease(self, call_id: int, node: SimulatedNode, before: Any, generation: int, entry: Any) -> None:
        if call_id != self.call_id or self.ended:
            return
        now = node.fence
        same = now is not None and (now.epoch, now.incarnation) == (before.epoch, before.incarnation)
        valid = (same and node.leased() and node.generation == generation) or "R14" in self.world.without
        if now is not None and valid and "R18" not in self.world.without:
            # A miss may be an uncommitted removal: it counts only while nothing uncommitted is visible.
            valid = (entry.lsn if entry is not None else now.applied_lsn) <= now.commit_lsn
        if not valid:
            self._try(call_id)
            return
        hidden = entry is not None and 0 < entry.expires_at_ns <= before.horizon_ns
        self._read(self.parts[0], None if hidden else entry, None)
        self._end()

    # ------------------------------------------------------------------ what was heard

    def _read(self, part: Part, entry: Any, session: tuple[int, int] | None) -> None:
        version = (entry.epoch, entry.lsn) if entry is not None else None
        value = entry.value if entry is not None else None
        if version is not None:
            self.seen_versions[part.key] = version
        if self.level == Level.STRONG:
            if part.key[:1] != b"t":
                self.world.checks.read(part.key, part.floor, version, value, f"client {self.number}")
            self._note(part, seen=_seen(part.key, value))
        elif session is not None:
            self._check_session(part.key, version, session)
            self.done_count += 1
        self._tell(0, part, version, "found" if version is not None else "absent", value)

    def _check_session(self, key: bytes, version: tuple[int, int] | None, session: tuple[int, int]) -> None:
        """Read your own writes, as long as the primary that took them is followed."""
        mine = self.written.get(key)
        if mine is not None and mine[0] == session[0] and (session[1] < mine[1] or (version and version < mine)):
            raise Violation(f"client {self.number} wrote {key!r} at {mine} and reads {version} at {session}")
        self.session = max(self.session, session)

    def _written(self, place: int, result: OperationResult, answered_ns: int) -> None:
        part, checks = self.parts[place], self.world.checks
        key, floor, operation = part
        assert operation is not None
        version = (result.epoch, result.lsn)
        if key[:1] == b"t":
            pass  # What an invalidation hides is no version of the key: its history is checked alone.
        elif self.level == Level.STRONG:
            if result.outcome == Outcome.DONE:
                checks.written(key, floor, result, self.number, self.first_sequence + place)
            elif result.outcome == Outcome.CONFLICT:
                current = version if result.lsn else None
                checks.read(key, floor, current, None, f"client {self.number}, refused,")
            elif result.outcome == Outcome.NOT_DONE and operation.kind != OperationKind.ADD:
                checks.read(key, floor, None, None, f"client {self.number}, refused,")
        elif result.outcome == Outcome.DONE:
            checks.eventual_acks.append(EventualAck(result.epoch, result.lsn, answered_ns))
        if result.outcome == Outcome.DONE:
            self.session = max(self.session, version)
            if operation.kind == OperationKind.SET and key[:1] != b"t":
                self.written[key] = version
            else:
                self.written.pop(key, None)
            self.seen_versions[key] = version
        self._note(part, result=result)
        self._tell(place, part, version, Outcome(result.outcome).name.lower())

    def _tell(
        self, place: int, part: Part, version: tuple[int, int] | None, outcome: str, found: bytes | None = None
    ) -> None:
        """Write the operation into the history, if one is kept."""
        history = self.world.history
        if history is not None:
            end_ns = self.world.scheduler.now_ns if outcome != "unknown" else None
            sequence = 0 if part.operation is None else self.first_sequence + place
            history.append(told(self.number, sequence, self.level, part.key, part.operation, found,
                                (self.start_ns, end_ns), outcome, version))  # fmt: skip

    def _note(
        self, part: Part, *, seen: Any = None, result: OperationResult | None = None, known: bool = True
    ) -> None:
        """Write a call on a single key down for the linearizability checker."""
        self.done_count += known
        key, _, operation = part
        if key[:1] == b"m":
            return
        end_ns = self.world.scheduler.now_ns if known else FOREVER
        checks = self.world.checks
        call = call_told(operation, self.level, (self.start_ns, end_ns), seen, result, known, checks.truth)
        checks.calls.setdefault(key, []).append(call)


def _seen(key: bytes, value: bytes | None) -> Any:
    if key[:1] == b"n":
        return int(value) if value is not None else None
    return value
