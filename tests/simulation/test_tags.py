"""Tags under crashes, loss and failover: an invalidation is one more way to delete, and must be linearizable as one."""

from __future__ import annotations

from random import Random

import pytest

from daycache_ray.protocol.replica import tagging
from daycache_ray.simulation.network import MS
from daycache_ray.simulation.stage import Stage
from daycache_ray.simulation.swarm import draw
from daycache_ray.simulation.world import World
from daycache_ray.structures.tags import TAGGED, pack_tags, row_key
from daycache_ray.words.messages import Evict, FillAsked, FillStored
from daycache_ray.words.operations import Level, Operation, OperationKind, Outcome

SEEDS = range(30)
TROUBLE_NS = 1_500 * MS
KEY, OTHER = b"\0\1\0key", b"\0\2\0other"
ROW = row_key(b"\0", b"eu")
INVALIDATE = Operation(OperationKind.INVALIDATE_TAG, ROW)


def tagged(key: bytes, value: bytes) -> Operation:
    """Return a SET with the tag."""
    return Operation(OperationKind.SET, key, pack_tags([b"eu"]) + value, flags=TAGGED)


def test_invalidations_are_linearizable_whatever_breaks() -> None:
    answered_count = 0
    for seed in SEEDS:
        swarm = draw(Random(seed), TROUBLE_NS)
        mix = swarm.mix._replace(tagged_ratio=0.5, think_ns=10 * MS)
        answered_count += World(seed, swarm=swarm._replace(mix=mix)).run().calls_count
    assert answered_count > 1_000


def is_parked() -> bool:
    """Return whether a STRONG read waits for the invalidation that hides what it asks for."""
    stage = Stage(2, 2).form()
    stage.write(0, tagged(KEY, b"v"), Level.STRONG)
    stage.settle()
    stage.write(0, INVALIDATE, Level.EVENTUAL)
    eventual, strong = stage.read(0, KEY, Level.EVENTUAL), stage.read(0, KEY)
    assert stage.answers[eventual] is None
    if strong in stage.answers:
        return False
    stage.settle()
    assert stage.answers[strong] is None
    return True


def test_a_strong_read_waits_for_the_invalidation_that_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_parked()
    monkeypatch.setattr(tagging, "with_rows", lambda view, keys: keys)
    assert not is_parked()


def test_conditions_see_an_invalidation_that_is_still_in_the_log() -> None:
    stage = Stage(2, 2).form()
    first = stage.write(0, tagged(KEY, b"v"), Level.STRONG)
    hides = stage.write(0, INVALIDATE, Level.STRONG)
    adds = stage.write(0, Operation(OperationKind.ADD, KEY, b"new"), Level.STRONG)
    again = stage.write(0, INVALIDATE, Level.STRONG)
    stage.settle()
    assert [stage.answers[token][0].outcome for token in (first, hides, adds, again)] == [Outcome.DONE] * 4
    assert [stage.answers[token][0].number for token in (hides, again)] == [1, 0]
    assert stage.value(0, KEY) == b"new"


def test_a_failover_takes_an_invalidation_back_that_nobody_else_had() -> None:
    stage = Stage(2, 1).form()
    stage.write(0, tagged(KEY, b"v"), Level.STRONG)
    stage.settle()
    stage.write(0, INVALIDATE, Level.EVENTUAL)
    assert stage.value(0, ROW) is not None
    stage.drop()
    stage.advance(2_000, still=(0,))
    token = stage.read(1, KEY)
    stage.advance(1_000, still=(0,))
    assert stage.answers[token] == tagged(KEY, b"v").value
    stage.advance(1_000)
    assert stage.value(0, ROW) is None


def test_a_load_that_began_before_an_invalidation_is_not_stored() -> None:
    stage = Stage(1, 1).form()
    for token, key in ((900, KEY), (901, OTHER)):
        stage.hand(0, FillAsked(token, 1, key, stage.now_ns + 10_000 * MS, True))
    stage.write(0, INVALIDATE, Level.EVENTUAL)
    row = stage.players[0].store.entries[ROW]
    # The row must stay until the load is over, though nothing stands that it hides.
    stage.hand(0, Evict(((ROW, row.epoch, row.lsn),)))
    assert stage.value(0, ROW) is not None
    stage.hand(0, FillStored(910, stage.answers[900], tagged(KEY, b"old"), 5, 1))
    assert stage.answers[910][0].outcome == Outcome.VOID
    assert stage.value(0, KEY) is None
    untagged = Operation(OperationKind.SET, OTHER, b"v")
    stage.hand(0, FillStored(911, stage.answers[901], untagged, 5, 2))
    assert stage.answers[911][0].outcome == Outcome.DONE
    stage.hand(0, FillAsked(902, 1, KEY, stage.now_ns + 10_000 * MS, True))
    stage.hand(0, FillStored(912, stage.answers[902], tagged(KEY, b"new"), 5, 3))
    assert stage.answers[912][0].outcome == Outcome.DONE
    stage.hand(0, Evict(((ROW, row.epoch, row.lsn),)))
    assert stage.value(0, ROW) is None
    assert stage.value(0, KEY) == tagged(KEY, b"new").value
