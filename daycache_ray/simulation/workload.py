"""Clients of the simulated world: they retry, give up, read in shared memory, and write down what they heard.

A client has one call at a time. Every value is written once, so a read says which write it saw. Keys come
in four kinds: `s` only STRONG calls (their history must be linearizable), `n` a counter, STRONG too, `t` written with a
tag of its own, whose invalidation is one more way to delete it, and `m` everything mixed, with TTLs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from daycache_ray.simulation.checkers import EventualAck
from daycache_ray.simulation.linearizability import FOREVER, Call
from daycache_ray.simulation.network import MS
from daycache_ray.simulation.truth import Violation
from daycache_ray.structures.tags import TAGGED, pack_tags, row_key
from daycache_ray.words.messages import ReadAt, Submit
from daycache_ray.words.operations import Level, Operation, OperationKind, OperationResult, Outcome
from daycache_ray.words.records import Codec

if TYPE_CHECKING:
    from daycache_ray.simulation.node import SimulatedNode
    from daycache_ray.simulation.world import World

ATTEMPT_NS = 250 * MS
CALL_NS = 1_500 * MS


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


class Client:
    """One client with one call in flight."""

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
        if tagged:
            self.key = b"t%c\0" % random.randrange(65, 68)
        elif single:
            kind = "n" if random.random() < 0.2 else "s"
            self.key = b"%s%d" % (kind.encode(), random.randrange(1 + mix.keys_count // 4))
        else:
            self.key = b"m%d" % int(mix.keys_count * random.random() ** 2)
        self.level = Level.STRONG if single or random.random() < mix.strong_ratio else Level.EVENTUAL
        self.start_ns = self.world.scheduler.now_ns
        self.floor = self.world.checks.floor(self.key)
        self.call_id += 1
        self.attempt = 0
        self.ended = False
        if random.random() < mix.read_ratio:
            self.operation: Operation | None = None
        else:
            self.sequence += 1
            self.operation = self._operation(single)
        self.world.scheduler.after(CALL_NS, self._give_up, self.call_id)
        if self.operation is None and self.level == Level.STRONG and random.random() < 0.3:
            self._read_memory(self.call_id)
        else:
            self._try(self.call_id)

    def _operation(self, single: bool) -> Operation:
        random, mix, key = self.random, self.mix, self.key
        self.values += 1
        value = b"%d.%d" % (self.number, self.values)
        ttl = 0 if single or random.random() >= mix.ttl_ratio else random.randrange(30 * MS, 2_000 * MS)
        if key[:1] == b"t":
            return self._tagged_operation(value)
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

    def _tagged_operation(self, value: bytes) -> Operation:
        tag = self.key[1:2]
        if self.random.random() < 0.6:
            return Operation(OperationKind.SET, self.key, pack_tags([tag]) + value, Codec.BYTES, TAGGED)
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

        if self.operation is None:
            epoch, lsn = self.session if self.level == Level.EVENTUAL else (0, 0)
            message: Any = ReadAt(0, (self.key,), int(self.level), epoch, lsn)
        else:
            message = Submit(0, (self.operation,), int(self.level), self.number, self.sequence, self.sequence)
        self.asked = node
        self.world.network.send(1000, node.seat, node.request, message, reply)
        self.world.scheduler.after(ATTEMPT_NS, self._silent, call_id, attempt)

    def _silent(self, call_id: int, attempt: int) -> None:
        if call_id == self.call_id and attempt == self.attempt and not self.ended:
            self._look_up()
            self._try(call_id)

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
            self._written(results[0], answered_ns)
        elif word == "read":
            entries, epoch, lsn = value
            self._read(entries[0], (epoch, lsn))
        else:
            self._look_up()
            self.world.scheduler.after(self.random.randrange(5 * MS, 60 * MS), self._try, call_id)

    def _give_up(self, call_id: int) -> None:
        if call_id == self.call_id and not self.ended:
            self._note(known=False)
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
        entry = node.store.entries.get(self.key) if node.generation == generation else None
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
        self._read(None if hidden else entry, None)

    # ------------------------------------------------------------------ what was heard

    def _read(self, entry: Any, session: tuple[int, int] | None) -> None:
        version = (entry.epoch, entry.lsn) if entry is not None else None
        value = entry.value if entry is not None else None
        if version is not None:
            self.seen_versions[self.key] = version
        if self.level == Level.STRONG:
            if self.key[:1] != b"t":
                self.world.checks.read(self.key, self.floor, version, value, f"client {self.number}")
            self._note(seen=_seen(self.key, value))
        elif session is not None:
            self._check_session(version, session)
        self._end()

    def _check_session(self, version: tuple[int, int] | None, session: tuple[int, int]) -> None:
        """Read your own writes, as long as the primary that took them is followed."""
        mine = self.written.get(self.key)
        if mine is not None and mine[0] == session[0] and (session[1] < mine[1] or (version and version < mine)):
            raise Violation(f"client {self.number} wrote {self.key!r} at {mine} and reads {version} at {session}")
        self.session = max(self.session, session)

    def _written(self, result: OperationResult, answered_ns: int) -> None:
        operation, checks = self.operation, self.world.checks
        assert operation is not None
        if self.key[:1] == b"t":
            pass  # What an invalidation hides is no version of the key: its history is checked alone.
        elif self.level == Level.STRONG:
            if result.outcome == Outcome.DONE:
                checks.written(self.key, self.floor, result, self.number, self.sequence)
            elif result.outcome == Outcome.CONFLICT:
                current = (result.epoch, result.lsn) if result.lsn else None
                checks.read(self.key, self.floor, current, None, f"client {self.number}, refused,")
            elif result.outcome == Outcome.NOT_DONE and operation.kind != OperationKind.ADD:
                checks.read(self.key, self.floor, None, None, f"client {self.number}, refused,")
        elif result.outcome == Outcome.DONE:
            checks.eventual_acks.append(EventualAck(result.epoch, result.lsn, answered_ns))
        if result.outcome == Outcome.DONE:
            version = (result.epoch, result.lsn)
            self.session = max(self.session, version)
            if operation.kind == OperationKind.SET and self.key[:1] != b"t":
                self.written[self.key] = version
            else:
                self.written.pop(self.key, None)
            self.seen_versions[self.key] = version
        self._note(result=result)
        self._end()

    def _note(self, *, seen: Any = None, result: OperationResult | None = None, known: bool = True) -> None:
        """Write a call on a single key down for the linearizability checker."""
        self.done_count += known
        if self.key[:1] == b"m":
            return
        truth = self.world.checks.truth
        operation = self.operation
        end = self.world.scheduler.now_ns if known else FOREVER
        calls = self.world.checks.calls.setdefault(self.key, [])
        if operation is None:
            calls.append(Call(self.start_ns, end, "read", seen=seen, known=known))
            return
        done = result is not None and result.outcome == Outcome.DONE
        if operation.kind == OperationKind.INCREMENT:
            number = result.number if result is not None else 0
            calls.append(Call(self.start_ns, end, "increment", operation.delta, None, done, number, known))
            return
        if operation.kind == OperationKind.INVALIDATE_TAG:
            known = known and self.level == Level.STRONG
            hid = result is not None and result.number > 0
            calls.append(Call(self.start_ns, end if known else FOREVER, "delete", None, None, hid, None, known))
            return
        kind = {OperationKind.SET: "write", OperationKind.DELETE: "delete", OperationKind.ADD: "add"}.get(
            OperationKind(operation.kind), "swap"
        )
        expected = truth.records.get(operation.expected_lsn)
        current = truth.records.get(result.lsn) if result is not None and not done and result.lsn else None
        before = expected.value if expected is not None and expected.epoch == operation.expected_epoch else None
        if operation.expected_lsn and before is None:
            before = b"never"
        calls.append(
            Call(
                self.start_ns,
                end,
                kind,
                operation.value,
                before,
                done,
                current.value if current is not None else None,
                known,
            )
        )


def _seen(key: bytes, value: bytes | None) -> Any:
    if key[:1] == b"n":
        return int(value) if value is not None else None
    return value
