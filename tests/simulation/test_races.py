"""One scripted race per rule: kept with the rule, broken without it. The race is told in each docstring.

Random seeds miss what a script shows in a few lines, so these stand beside the seeds. A race returns
whether the promise was kept; the same script runs with the rule and with the rule switched off.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daycache_ray.simulation.stage import COORDINATOR, MS, Letter, Stage
from daycache_ray.words.messages import (
    Configure,
    ConnectionClosed,
    Evict,
    FillAsked,
    FillStored,
    Intent,
    PeerFenced,
    PeerGone,
    Prepare,
    PrepareAck,
    Propose,
    Submit,
)
from daycache_ray.words.operations import Level, Operation, OperationKind, Outcome
from daycache_ray.words.records import RecordKind
from daycache_ray.words.types import Role

Without = frozenset[str]
Race = Callable[[Without], bool]
K = b"k"


def _to(seat: int) -> Callable[[Letter], bool]:
    return lambda letter: letter.target == seat


def _kind(kind: type, target: int) -> Callable[[Letter], bool]:
    return lambda letter: letter.target == target and isinstance(letter.message, kind)


def _is_promotion(message: object) -> bool:
    return isinstance(message, Propose) and message.intent == Intent.PROMOTE


def _joiner_asked_for(without: Without) -> Stage:
    """Seat 1 has caught up, seat 0 has asked for it, and the coordinator has agreed; 0 has not heard it."""
    stage = Stage(2, 1, without).form(1)
    stage.start(1)
    stage.settle()
    while not [m for m in stage.letters(Propose) if m.intent == Intent.ADD]:
        stage.advance(10, deliver=False)
        stage.deliver(lambda letter: letter.target != COORDINATOR)
    stage.deliver(_to(COORDINATOR))
    stage.drop(_kind(Configure, 0))
    return stage


def r1(without: Without) -> bool:
    """0 has asked for 1 and does not know that C agreed: it must not commit without 1, who may be promoted."""
    stage = _joiner_asked_for(without)
    stage.coordinator_up = False
    token = stage.put(0, K, b"v")
    for _ in range(20):
        stage.drop()
        stage.advance(10, still=(1,), deliver=False)
    return token not in stage.answers


def r2(without: Without) -> bool:
    """As before; 1 never grants, so 0 must be without lease when 1's grace is over."""
    stage = _joiner_asked_for(without)
    stage.coordinator_up = False
    stage.drop(_to(1))
    for _ in range(70):
        stage.advance(10, still=(1,), deliver=False)
        stage.drop()
    return not stage.leased(0)


def r3(without: Without) -> bool:
    """A secondary whose primary was heard a moment ago does not propose itself."""
    stage = Stage(2, 2, without)
    stage.start(0)
    stage.start(1)
    stage.advance(900)
    c = stage.coordinator.state.configuration
    assert c is not None
    return c.primary.seat == 0


def r4(without: Without) -> bool:
    """1 has proposed itself; the beacon of its old primary arrives: no grant."""
    stage = Stage(2, 2, without).form()
    stage.advance(800, still=(0,), deliver=False)
    assert any(_is_promotion(m) for m in stage.letters(Propose, 1))
    stage.drop(lambda letter: letter.target != COORDINATOR)
    stage.advance(10, still=(1,), deliver=False)
    stage.deliver(_kind(Prepare, 1))
    return not stage.letters(PrepareAck, 1)


def r5(without: Without) -> bool:
    """1 granted a lease, restarts, has forgotten it: it waits a full grace before it proposes itself."""
    stage = Stage(2, 2, without).form()
    stage.crash(1)
    stage.start(1)
    stage.drop()
    stage.advance(100, still=(0,), deliver=False)
    return not [m for m in stage.letters(Propose, 1) if _is_promotion(m)]


def r6(without: Without) -> bool:
    """0 acknowledged k=b; 1 has it but does not know that it is committed: no lease that would show k=a."""
    stage = Stage(3, 2, without).form()
    stage.put(0, K, b"a")
    stage.settle()
    stage.advance(20)
    token = stage.put(0, K, b"b")
    stage.deliver(_kind(Prepare, 1))
    stage.deliver(_kind(Prepare, 2))
    stage.put(0, b"other", b"x", Level.EVENTUAL)
    stage.deliver(_kind(Prepare, 1))
    stage.drop(_kind(Prepare, 2))
    stage.deliver(_kind(PrepareAck, 0))
    assert token in stage.answers
    stage.drop()
    stage.crash(0)
    stage.advance(800, still=(2,), deliver=False)
    stage.deliver(_to(COORDINATOR))
    stage.deliver(_kind(Configure, 1))
    assert stage.role(1) == Role.PRIMARY
    # 2 hears the first beacon, grants, and says that it lacks a record.
    stage.deliver(_kind(Prepare, 2))
    for letter in [one for one in stage.mail if one.target == 1 and isinstance(one.message, PrepareAck)]:
        stage.mail.remove(letter)
        stage.hand(1, letter.message)
    read = stage.read(1, K)
    return stage.answers.get(read) != b"a"


def r8(without: Without) -> bool:
    """1 comes back wiped and hears a configuration that names its former incarnation: that is not it."""
    stage = Stage(2, 2, without).form()
    old = stage.coordinator.state.configuration
    assert old is not None
    former = stage.crash(1, wipe=True)
    stage.start(1, listen=False)
    stage.hand(1, Configure(stage.players[1].alive.shard, old, former))
    return stage.role(1) != Role.SECONDARY


def r9(without: Without) -> bool:
    """1 comes back on an empty store: its seat in the set is not kept."""
    stage = Stage(2, 2, without).form()
    stage.crash(1, wipe=True)
    stage.start(1)
    c = stage.coordinator.state.configuration
    assert c is not None
    return stage.players[1].alive.member not in c.in_sync


def r10(without: Without) -> bool:
    """1 holds four records; a late message with two of the same epoch must cost nothing."""
    stage = Stage(2, 2, without).form()
    first = None
    for number in range(3):
        stage.put(0, b"k%d" % number, b"v")
        messages = stage.letters(Prepare, 0)
        first = first or messages[0]
        stage.deliver(_kind(Prepare, 1))
        stage.deliver(_kind(PrepareAck, 0))
    before = stage.players[1].alive.last_lsn
    assert first is not None
    stage.hand(1, first)
    return stage.players[1].alive.last_lsn == before


def r11(without: Without) -> bool:
    """1 dies while its growth is on the way and refused: 0 must not wait for it for ever."""
    stage = Stage(2, 1, without).form(1)
    stage.start(1)
    stage.settle()
    while not [m for m in stage.letters(Propose) if m.intent == Intent.ADD]:
        stage.advance(10, deliver=False)
        stage.deliver(lambda letter: letter.target != COORDINATOR)
    stage.crash(1)
    stage.coordinator_up = False
    stage.drop()
    token = stage.put(0, K, b"v")
    for _ in range(50):
        stage.advance(10, deliver=False)
        stage.drop(lambda letter: isinstance(letter.message, Propose) and letter.message.intent == Intent.ADD)
    stage.coordinator_up = True
    for _ in range(300):
        stage.advance(10, deliver=False)
        stage.drop(lambda letter: isinstance(letter.message, Propose) and letter.message.intent == Intent.ADD)
        stage.settle()
    return token in stage.answers


def r12(without: Without) -> bool:
    """The proposal names an incarnation that is gone: it is left out, the rest is agreed."""
    stage = _joiner_asked_for(without)
    c = stage.coordinator.state.configuration
    assert c is not None
    former = stage.crash(1)
    stage.start(1)
    epoch = stage.coordinator.state.configuration.epoch  # type: ignore[union-attr]
    shard, primary = stage.players[0].alive.shard, stage.players[0].alive.member
    propose = Propose(shard, primary, epoch, Intent.ADD, (former,))
    stage.mail.append(Letter(0, COORDINATOR, propose))
    stage.deliver(_to(COORDINATOR))
    after = stage.coordinator.state.configuration
    assert after is not None
    assert former not in after.in_sync
    return after.epoch == epoch + 1


def r13(without: Without) -> bool:
    """A STRONG write is answered only when it is committed."""
    stage = Stage(2, 2, without).form()
    token = stage.put(0, K, b"v")
    return token not in stage.answers


def r15(without: Without) -> bool:
    """c puts A, the answer is lost; d puts B; c's retry must not put A over it."""
    stage = Stage(1, 1, without).form()
    a = Operation(OperationKind.SET, K, b"A")
    stage.write(0, a, Level.STRONG, client=7, sequence=1)
    stage.write(0, Operation(OperationKind.SET, K, b"B"), Level.STRONG, client=8, sequence=1)
    stage.write(0, a, Level.STRONG, client=7, sequence=1)
    return stage.value(0, K) == b"B"


def r16(without: Without) -> bool:
    """1 is silent and C does not answer: 0 may not drop it on its own and commit alone."""
    stage = Stage(2, 1, without).form()
    token = stage.put(0, K, b"v")
    stage.coordinator_up = False
    stage.advance(2_500, still=(1,))
    return token not in stage.answers


def r17(without: Without) -> bool:
    """Somebody outside the set proposes itself: refused."""
    stage = Stage(2, 1, without).form(1)
    stage.start(1)
    stage.drop()
    outsider = stage.players[1].alive.member
    c = stage.coordinator.state.configuration
    assert c is not None
    stage.mail.append(Letter(1, COORDINATOR, Propose(stage.players[1].alive.shard, outsider, c.epoch, Intent.PROMOTE)))
    stage.deliver(_to(COORDINATOR))
    after = stage.coordinator.state.configuration
    assert after is not None
    return after.primary != outsider


def r18(without: Without) -> bool:
    """An EVENTUAL value that nobody else holds is no STRONG answer; when it is committed, it is."""
    stage = Stage(2, 2, without).form()
    stage.put(0, K, b"e", Level.EVENTUAL)
    token = stage.read(0, K)
    kept = token not in stage.answers
    stage.settle()
    assert stage.answers[token] == b"e"
    return kept


def r19(without: Without) -> bool:
    """STRONG a is on the way, EVENTUAL b is visible; when a commits it must not cover b."""
    stage = Stage(2, 2, without).form()
    stage.put(0, K, b"a", Level.STRONG)
    stage.put(0, K, b"b", Level.EVENTUAL)
    stage.deliver(_kind(Prepare, 1))
    acks = [letter for letter in stage.mail if letter.target == 0]
    stage.mail.remove(acks[0])
    stage.hand(0, acks[0].message)
    return stage.value(0, K) == b"b"


def r20(without: Without) -> bool:
    """Two compare-and-sets of one version are on the way at once: one wins."""
    stage = Stage(2, 2, without).form()
    token = stage.put(0, K, b"old")
    stage.settle()
    version = stage.answers[token][0]
    tokens = [
        stage.write(
            0,
            Operation(OperationKind.COMPARE_AND_SET, K, value, expected_epoch=version.epoch, expected_lsn=version.lsn),
            Level.STRONG,
        )
        for value in (b"first", b"second")
    ]
    stage.settle()
    outcomes = [stage.answers[token][0].outcome for token in tokens]
    return outcomes == [Outcome.DONE, Outcome.CONFLICT]


def r21(without: Without) -> bool:
    """0 showed an EVENTUAL value that was never shipped; when it comes back as a secondary, it is gone."""
    stage = Stage(2, 1, without).form()
    stage.put(0, K, b"lost", Level.EVENTUAL)
    stage.drop()
    stage.advance(1_000, still=(0,))
    assert stage.role(1) == Role.PRIMARY
    stage.drop(_to(0))
    stage.advance(1_000)
    assert stage.role(0) == Role.SECONDARY
    return stage.value(0, K) is None


def r22(without: Without) -> bool:
    """Accepted with two in the set, one is dropped: not acknowledged on one copy. It returns: acknowledged (R23)."""
    stage = Stage(2, 2, without).form()
    token = stage.put(0, K, b"v")
    stage.advance(2_000, still=(1,))
    c = stage.coordinator.state.configuration
    assert c is not None
    assert len(c.in_sync) == 1
    kept = token not in stage.answers
    late = stage.put(0, K, b"w")
    assert stage.answers[late] == "NotEnoughReplicasError"
    stage.crash(1)
    stage.start(1)
    stage.advance(1_000)
    assert stage.answers[token][0].outcome == Outcome.DONE
    return kept


def r24(without: Without) -> bool:
    """An entry has expired for readers; the next primary's clock is behind: it stays expired."""
    stage = Stage(2, 2, without).form()
    stage.players[1].wall_offset_ns = -10_000 * MS
    stage.put(0, K, b"v", ttl_ns=50 * MS)
    stage.advance(400)
    assert stage.answers[stage.read(0, K)] is None
    stage.crash(0)
    stage.advance(1_500)
    assert stage.role(1) == Role.PRIMARY
    return stage.answers[stage.read(1, K)] is None


def r25(without: Without) -> bool:
    """A primary that is cut off takes no EVENTUAL writes when its lease is over."""
    stage = Stage(2, 1, without).form()
    for _ in range(70):
        stage.advance(10, still=(1,), deliver=False)
        stage.drop()
    token = stage.put(0, K, b"v", Level.EVENTUAL)
    return bool(stage.answers[token] == "NotPrimaryError")


def r32(without: Without) -> bool:
    """A loader was slow: its value must not cover what was written meanwhile."""
    stage = Stage(1, 1, without).form()
    stage.hand(0, FillAsked(900, 5, K, stage.now_ns + 10_000 * MS, True))
    number = stage.answers[900]
    assert number > 0
    stage.put(0, K, b"new", Level.EVENTUAL)
    stage.hand(0, FillStored(901, number, Operation(OperationKind.SET, K, b"old"), 9, 1))
    return stage.value(0, K) == b"new"


def r33(without: Without) -> bool:
    """The connection to the primary broke: that proves nothing. The proof is another message."""
    stage = Stage(2, 2, without).form()
    primary = stage.players[0].alive.member
    stage.hand(1, PeerGone(primary))
    kept = not [m for m in stage.letters(Propose, 1) if _is_promotion(m)]
    stage.hand(1, PeerFenced(primary))
    assert [m for m in stage.letters(Propose, 1) if _is_promotion(m)]
    return kept


def r38(without: Without) -> bool:
    """k was picked for eviction and written before the eviction came: it stays."""
    stage = Stage(1, 1, without).form()
    token = stage.put(0, K, b"old", Level.EVENTUAL)
    picked = stage.answers[token][0]
    stage.put(0, K, b"new", Level.EVENTUAL)
    stage.hand(0, Evict(((K, picked.epoch, picked.lsn),)))
    return stage.value(0, K) == b"new"


RACES: dict[str, Race] = {
    "R1": r1, "R2": r2, "R3": r3, "R4": r4, "R5": r5, "R6": r6, "R8": r8, "R9": r9, "R10": r10, "R11": r11,
    "R12": r12, "R13": r13, "R15": r15, "R16": r16, "R17": r17, "R18": r18, "R19": r19, "R20": r20, "R21": r21,
    "R22": r22, "R24": r24, "R25": r25, "R32": r32, "R33": r33, "R38": r38,
}  # fmt: skip


@pytest.mark.parametrize("rule", RACES)
def test_the_rule_keeps_the_promise(rule: str) -> None:
    assert RACES[rule](frozenset()), RACES[rule].__doc__


@pytest.mark.parametrize("rule", RACES)
def test_without_the_rule_it_is_broken(rule: str) -> None:
    assert not RACES[rule](frozenset({rule})), f"{rule} makes no difference here: the race does not test it"


def test_effects_of_a_commit_are_in_the_order_in_which_others_may_hear_of_them() -> None:
    """Visible in the store, then on the fence page, then answered (R13)."""
    stage = Stage(2, 2).form()
    stage.put(0, K, b"v")
    stage.deliver(_kind(Prepare, 1))
    stage.deliver(_kind(PrepareAck, 0))
    kinds = [type(effect).__name__ for effect in stage.players[0].effects]
    order = [kinds.index(name) for name in ("Apply", "Commit", "PublishFence", "Answer")]
    assert order == sorted(order), kinds


def test_a_retry_is_found_in_the_tail_of_the_one_who_died() -> None:
    """k of (c, 5) was shipped and its primary died; the retry at the next one is not a second write (R29)."""
    stage = Stage(2, 2).form()
    operation = Operation(OperationKind.INCREMENT, K, delta=1, ttl_ns=-1)
    stage.write(0, operation, Level.STRONG, client=9, sequence=5)
    stage.deliver(_kind(Prepare, 1))
    stage.drop()
    stage.crash(0)
    stage.advance(1_000)
    assert stage.role(1) == Role.PRIMARY
    token = stage.write(1, operation, Level.EVENTUAL, client=9, sequence=5)
    assert stage.answers[token][0].number == 1
    assert stage.value(1, K) == b"1"
    records = [record for record in stage.players[1].store.records if record.kind == RecordKind.PUT]
    assert len(records) == 1


def test_a_request_below_what_its_client_waits_for_is_refused() -> None:
    """A first try that was delayed for long must not be applied after its client has moved on (R28)."""
    stage = Stage(1, 1).form()
    put = Operation(OperationKind.SET, K, b"v")
    machine = stage.players[0].alive
    stage.hand(0, Submit(700, (put,), int(Level.STRONG), 4, 10, 10))
    stage.hand(0, Submit(701, (put,), int(Level.STRONG), 4, 3, 3))
    assert stage.answers[701] == "UnknownOutcomeError"
    assert machine.commit_lsn == machine.last_lsn


def test_a_closed_connection_frees_its_loads_at_once() -> None:
    """The loader's process died: who waited loads instead, long before the deadline (R32)."""
    stage = Stage(1, 1).form()
    stage.hand(0, FillAsked(900, 5, K, stage.now_ns + 10_000 * MS, True))
    stage.hand(0, FillAsked(901, 6, K, stage.now_ns + 10_000 * MS, True))
    assert 901 not in stage.answers
    stage.hand(0, ConnectionClosed(5))
    assert stage.answers[901] > stage.answers[900]
