"""One scripted race per rule about members and leases: kept with the rule, broken without it.

Random seeds miss what a script shows in a few lines, so these stand beside the seeds. A race returns
whether the promise was kept; the same script runs with the rule and with the rule switched off. They ship,
because `python -m daycache_ray.simulation --mutations` plays them.
"""

from __future__ import annotations

from collections.abc import Callable

from daycache_ray.simulation.stage import COORDINATOR, Letter, Stage, of_kind, to_seat
from daycache_ray.words.messages import (
    Configure,
    Intent,
    PeerFenced,
    PeerGone,
    Prepare,
    PrepareAck,
    Propose,
)
from daycache_ray.words.operations import Level
from daycache_ray.words.types import Role

Without = frozenset[str]
Race = Callable[[Without], bool]
K = b"k"


def _is_promotion(message: object) -> bool:
    return isinstance(message, Propose) and message.intent == Intent.PROMOTE


def _until_growth_is_asked(stage: Stage) -> None:
    """Let everything arrive but the proposal of the growth itself."""
    for _ in range(100):
        stage.deliver(lambda letter: not (isinstance(letter.message, Propose) and letter.message.intent == Intent.ADD))
        if [m for m in stage.letters(Propose) if m.intent == Intent.ADD]:
            return
        stage.advance(10, deliver=False)
    raise AssertionError("nobody asked for the growth")


def _joiner_asked_for(without: Without) -> Stage:
    """Seat 1 has caught up, seat 0 has asked for it, and the coordinator has agreed; 0 has not heard it."""
    stage = Stage(2, 1, without).form(1)
    stage.start(1)
    _until_growth_is_asked(stage)
    stage.deliver(to_seat(COORDINATOR))
    stage.drop(of_kind(Configure, 0))
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
    stage.drop(to_seat(1))
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
    stage.deliver(of_kind(Prepare, 1))
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
    stage.deliver(of_kind(Prepare, 1))
    stage.deliver(of_kind(Prepare, 2))
    stage.put(0, b"other", b"x", Level.EVENTUAL)
    stage.deliver(of_kind(Prepare, 1))
    stage.drop(of_kind(Prepare, 2))
    stage.deliver(of_kind(PrepareAck, 0))
    assert token in stage.answers
    stage.drop()
    stage.crash(0)
    stage.advance(800, still=(2,), deliver=False)
    stage.deliver(to_seat(COORDINATOR))
    stage.deliver(of_kind(Configure, 1))
    assert stage.role(1) == Role.PRIMARY
    # 2 hears the first beacon, grants, and says that it lacks a record.
    stage.deliver(of_kind(Prepare, 2))
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
        stage.deliver(of_kind(Prepare, 1))
        stage.deliver(of_kind(PrepareAck, 0))
    before = stage.players[1].alive.last_lsn
    assert first is not None
    stage.hand(1, first)
    return stage.players[1].alive.last_lsn == before


def r11(without: Without) -> bool:
    """1 dies while its growth is on the way and refused: 0 must not wait for it for ever."""
    stage = Stage(2, 1, without).form(1)
    stage.start(1)
    _until_growth_is_asked(stage)
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
    stage.deliver(to_seat(COORDINATOR))
    after = stage.coordinator.state.configuration
    assert after is not None
    assert former not in after.in_sync
    return after.epoch == epoch + 1


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
    stage.deliver(to_seat(COORDINATOR))
    after = stage.coordinator.state.configuration
    assert after is not None
    return after.primary != outsider


def r33(without: Without) -> bool:
    """The connection to the primary broke: that proves nothing. The proof is another message."""
    stage = Stage(2, 2, without).form()
    primary = stage.players[0].alive.member
    stage.hand(1, PeerGone(primary))
    kept = not [m for m in stage.letters(Propose, 1) if _is_promotion(m)]
    stage.hand(1, PeerFenced(primary))
    assert [m for m in stage.letters(Propose, 1) if _is_promotion(m)]
    return kept


RACES: dict[str, Race] = {
    "R1": r1,
    "R2": r2,
    "R3": r3,
    "R4": r4,
    "R5": r5,
    "R6": r6,
    "R8": r8,
    "R9": r9,
    "R10": r10,
    "R11": r11,
    "R12": r12,
    "R16": r16,
    "R17": r17,
    "R33": r33,
}
