"""How fresh a secondary may say that it is: a script per way to say too much; the seeds check the same claim."""

from __future__ import annotations

import msgspec

from daycache_ray.simulation.stage import Stage, of_kind, to_seat
from daycache_ray.words.messages import Prepare, PrepareAck
from daycache_ray.words.operations import Level

K = b"k"


def fresh_ns(stage: Stage, seat: int) -> int:
    """Return what the fence page of a seat says."""
    fence = stage.players[seat].fence
    return 0 if fence is None else fence.fresh_ns


def test_beacons_keep_a_secondary_fresh() -> None:
    stage = Stage(2, 2).form()
    stage.advance(1_000)
    stage.settle()
    age_ns = stage.now(1).boot_ns - fresh_ns(stage, 1)
    # A beacon says what was so when the answer to the one before it was sent.
    assert 0 < age_ns <= 2 * 150_000_000 + 10_000_000
    before_ns = fresh_ns(stage, 1)
    stage.advance(300)
    stage.settle()
    assert fresh_ns(stage, 1) > before_ns


def test_it_does_not_rise_while_nothing_is_heard() -> None:
    stage = Stage(2, 2).form()
    stage.advance(1_000)
    stage.settle()
    before_ns = fresh_ns(stage, 1)
    stage.put(0, K, b"v", Level.EVENTUAL)
    stage.advance(400, still=(1,), deliver=False)
    stage.drop(to_seat(1))
    assert fresh_ns(stage, 1) == before_ns


def test_records_that_are_announced_and_not_there_yet_are_waited_for() -> None:
    stage = Stage(2, 2).form()
    stage.advance(1_000)
    stage.settle()
    stage.put(0, K, b"v", Level.EVENTUAL)
    stage.advance(200, deliver=False)
    # The records themselves are lost; a beacon that names a later LSN arrives.
    lost = stage.drop(of_kind(Prepare, 1))
    empty = msgspec.structs.replace(
        lost[-1], previous_lsn=stage.players[1].alive.last_lsn, records=(), echo_ns=stage.now(1).boot_ns
    )
    assert empty.last_lsn > empty.previous_lsn
    before_ns = fresh_ns(stage, 1)
    stage.hand(1, empty)
    assert fresh_ns(stage, 1) == before_ns
    stage.advance(500)
    stage.settle()
    assert stage.value(1, K) == b"v"
    assert fresh_ns(stage, 1) > before_ns


def test_a_primary_without_lease_says_nothing() -> None:
    stage = Stage(2, 2).form()
    stage.advance(1_000)
    stage.settle()
    # Its beacons arrive, the answers do not: the lease runs out, and with it the right to speak for the shard.
    for _ in range(12):
        stage.advance(100, still=(1,), deliver=False)
        stage.drop(of_kind(PrepareAck, 0))
    assert not stage.leased(0)
    assert all(message.echo_ns == 0 for message in stage.letters(Prepare)[-2:])
