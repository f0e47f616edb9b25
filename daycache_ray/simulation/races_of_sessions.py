"""One scripted race per rule about epochs, sessions and retries: kept with the rule, broken without it.

A race returns whether the promise was kept; the same script runs with the rule and with the rule switched
off. It refuses to know chance: which letter arrives when is written down here.
"""

from __future__ import annotations

from collections.abc import Callable

from daycache_ray.simulation.stage import COORDINATOR, Stage, of_kind, to_seat
from daycache_ray.words.messages import Configure, Intent, Prepare, PrepareAck, Propose, ReadAt, Submit
from daycache_ray.words.operations import Level, Operation, OperationKind
from daycache_ray.words.records import RecordKind
from daycache_ray.words.types import Role

Without = frozenset[str]
Race = Callable[[Without], bool]
K = b"k"


def r7(without: Without) -> bool:
    """1 is promoted with a tail that it does not know to be committed: 3, who lacks it, may not join yet."""
    stage = Stage(4, 1, without, prepare_records_max=1).form(3)
    stage.put(0, K, b"a")
    stage.settle()
    stage.advance(20)
    token = stage.put(0, K, b"b")
    stage.deliver(lambda letter: isinstance(letter.message, Prepare))
    stage.deliver(of_kind(PrepareAck, 0))
    assert token in stage.answers
    stage.drop()
    stage.crash(0)
    stage.advance(800, still=(2,), deliver=False)
    stage.deliver(to_seat(COORDINATOR))
    stage.start(3)
    stage.deliver(of_kind(Configure, 1))
    assert stage.role(1) == Role.PRIMARY
    # 2 says nothing yet; 1 and 3 talk.
    for _ in range(60):
        stage.advance(10, still=(2,), deliver=False)
        stage.deliver(lambda letter: (letter.source, letter.target) in ((1, 3), (3, 1)))
    return not [m for m in stage.letters(Propose, 1) if m.intent == Intent.ADD]


def r14(without: Without) -> bool:
    """A reader saw the lease and paused; it looks again after the record, and so it notices that 1 has taken over."""
    stage = Stage(2, 1, without).form()
    stage.put(0, K, b"old")
    stage.settle()
    assert stage.leased(0)
    stage.advance(1_000, still=(0,))
    assert stage.role(1) == Role.PRIMARY
    stage.put(1, K, b"new")
    read = stage.value(0, K)
    believed = stage.leased(0) or "R14" in without
    return not (believed and read == b"old")


def r23(without: Without) -> bool:
    """0 is alone and may commit nothing; 1 must be able to join all the same, or nothing is committed ever."""
    stage = Stage(2, 2, without).form(1)
    stage.start(1)
    stage.advance(1_500)
    token = stage.put(0, K, b"v")
    stage.settle()
    return not isinstance(stage.answers.get(token, "none"), str)


def r26(without: Without) -> bool:
    """A session wrote at (epoch 1, LSN n), which was lost; the n of another epoch does not contain its write."""
    stage = Stage(3, 1, without).form()
    token = stage.put(0, K, b"mine", Level.EVENTUAL)
    mine = stage.answers[token][0]
    stage.drop()
    stage.crash(0)
    stage.advance(1_500)
    primary = next(seat for seat in (1, 2) if stage.role(seat) == Role.PRIMARY)
    other = 3 - primary
    for number in range(4):
        stage.put(primary, b"k%d" % number, b"v")
        stage.settle()
    stage.advance(300)
    assert stage.players[other].alive.applied_lsn >= mine.lsn
    assert stage.role(other) == Role.SECONDARY
    stage.reads[900] = (other, K, int(Level.EVENTUAL))
    stage.hand(other, ReadAt(900, (K,), int(Level.EVENTUAL), mine.epoch, mine.lsn))
    return bool(stage.answers[900] == "NotPrimaryError")


def r27(without: Without) -> bool:
    """A beacon is late; what was written since it was sent is not shown as if the beacon had spoken of now."""
    stage = Stage(2, 2, without).form()
    stage.advance(1_000)
    stage.settle()
    stage.advance(200, deliver=False)
    late = next(m for m in stage.drop(of_kind(Prepare, 1)) if m.echo_ns)
    stage.put(0, K, b"v", Level.EVENTUAL)
    written_ns = stage.now(1).boot_ns
    stage.advance(300, deliver=False)
    stage.drop()
    stage.hand(1, late)
    fence = stage.players[1].fence
    assert fence is not None
    return stage.value(1, K) == b"v" or fence.fresh_ns <= written_ns


def r28(without: Without) -> bool:
    """A first try was under way for long; its client has given it up and moved on: it is not applied any more."""
    stage = Stage(1, 1, without).form()
    stage.hand(0, Submit(700, (Operation(OperationKind.SET, K, b"new"),), int(Level.STRONG), 4, 10, 10))
    stage.hand(0, Submit(701, (Operation(OperationKind.SET, K, b"old"),), int(Level.STRONG), 4, 3, 3))
    return stage.value(0, K) == b"new" and bool(stage.answers[701] == "UnknownOutcomeError")


def r29(without: Without) -> bool:
    """The increment (c, 5) was shipped and its primary died; the retry at the next one is not a second one."""
    stage = Stage(2, 2, without).form()
    operation = Operation(OperationKind.INCREMENT, K, delta=1, ttl_ns=-1)
    stage.write(0, operation, Level.STRONG, client=9, sequence=5)
    stage.deliver(of_kind(Prepare, 1))
    stage.drop()
    stage.crash(0)
    stage.advance(1_000)
    assert stage.role(1) == Role.PRIMARY
    stage.write(1, operation, Level.EVENTUAL, client=9, sequence=5)
    return len([record for record in stage.players[1].store.records if record.kind == RecordKind.PUT]) == 1


def r35(without: Without) -> bool:
    """C makes 1 primary of an epoch and dies; when it is back, 2 must not get the same epoch."""
    stage = Stage(3, 1, without).form()
    before = stage.coordinator.state.configuration
    assert before is not None
    stage.crash(0)
    stage.advance(700, deliver=False)
    proposals = {m.member.seat: m for m in stage.drop(to_seat(COORDINATOR)) if isinstance(m, Propose)}
    given: list[tuple[int, int]] = []
    for seat in (1, 2):
        stage.tell_coordinator(proposals[seat])
        after = stage.coordinator.state.configuration
        assert after is not None
        given.append((after.epoch, after.primary.seat))
        stage.crash_coordinator()
    assert given[0] == (before.epoch + 1, 1)
    return given[1] == given[0]


RACES: dict[str, Race] = {
    "R7": r7, "R14": r14, "R23": r23, "R26": r26, "R27": r27, "R28": r28, "R29": r29, "R35": r35,
}  # fmt: skip
