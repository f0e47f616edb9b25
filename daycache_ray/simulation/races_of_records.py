"""One scripted race per rule about records and levels: kept with the rule, broken without it.

Random seeds miss what a script shows in a few lines, so these stand beside the seeds. A race returns
whether the promise was kept; the same script runs with the rule and with the rule switched off. They ship,
because `python -m daycache_ray.simulation --mutations` plays them.
"""

from __future__ import annotations

from collections.abc import Callable

from daycache_ray.simulation.stage import MS, Stage, of_kind, to_seat
from daycache_ray.words.messages import (
    Evict,
    FillAsked,
    FillStored,
    Prepare,
)
from daycache_ray.words.operations import Level, Operation, OperationKind, Outcome
from daycache_ray.words.types import Role

Without = frozenset[str]
Race = Callable[[Without], bool]
K = b"k"


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
    stage.deliver(of_kind(Prepare, 1))
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
    stage.drop(to_seat(0))
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


def r30(without: Without) -> bool:
    """The copy for 2 shows what 1 does not hold and what may be cut: 2 must not use it before it is settled."""
    stage = Stage(3, 1, without, log_records_kept=5).form(2)
    for number in range(60):
        stage.put(0, b"k%d" % number, b"v", Level.EVENTUAL)
    stage.settle()
    stage.put(0, K, b"unshipped", Level.EVENTUAL)
    stage.start(2)
    stage.advance(300, still=(1,))
    kept = "copy finished" not in stage.players[2].alive.statistics().branches
    stage.advance(600)
    assert stage.players[2].alive.statistics().branches["copy finished"] == 1
    return kept


def r32(without: Without) -> bool:
    """A loader was slow: its value must not cover what was written meanwhile."""
    stage = Stage(1, 1, without).form()
    stage.hand(0, FillAsked(900, 5, K, stage.now_ns + 10_000 * MS, True))
    number = stage.answers[900]
    assert number > 0
    stage.put(0, K, b"new", Level.EVENTUAL)
    stage.hand(0, FillStored(901, number, Operation(OperationKind.SET, K, b"old"), 9, 1))
    return stage.value(0, K) == b"new"


def r38(without: Without) -> bool:
    """k was picked for eviction and written before the eviction came: it stays."""
    stage = Stage(1, 1, without).form()
    token = stage.put(0, K, b"old", Level.EVENTUAL)
    picked = stage.answers[token][0]
    stage.put(0, K, b"new", Level.EVENTUAL)
    stage.hand(0, Evict(((K, picked.epoch, picked.lsn),)))
    return stage.value(0, K) == b"new"


RACES: dict[str, Race] = {
    "R13": r13,
    "R15": r15,
    "R18": r18,
    "R19": r19,
    "R20": r20,
    "R21": r21,
    "R22": r22,
    "R24": r24,
    "R25": r25,
    "R30": r30,
    "R32": r32,
    "R38": r38,
}
