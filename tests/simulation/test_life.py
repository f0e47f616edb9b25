"""The ordinary life of a shard on the stage: forming, copies, restarts, an orderly end."""

from __future__ import annotations

import pytest

from daycache_ray.simulation.stage import MS, Stage
from daycache_ray.words.messages import (
    CopyPart,
    Expired,
    FillAsked,
    FillFailed,
    FillStored,
    Leave,
    NextExpiry,
    ReadAt,
    Submit,
)
from daycache_ray.words.operations import Level, Operation, OperationKind, Outcome
from daycache_ray.words.types import Role

K = b"k"


def test_one_replica_commits_alone_and_leases_from_itself() -> None:
    stage = Stage(1, 1).form()
    token = stage.put(0, K, b"v")
    assert stage.answers[token][0].outcome == Outcome.DONE
    assert stage.answers[stage.read(0, K)] == b"v"
    stage.advance(5_000)
    assert stage.leased(0)
    assert stage.answers[stage.read(0, K)] == b"v"


def test_the_only_replica_comes_back_warm_at_once() -> None:
    stage = Stage(1, 1).form()
    stage.put(0, K, b"v")
    stage.crash(0)
    stage.start(0)
    stage.settle()
    assert stage.answers[stage.read(0, K)] == b"v"


def test_all_members_die_and_the_secondary_comes_back_alone() -> None:
    stage = Stage(2, 1).form()
    token = stage.put(0, K, b"v")
    stage.settle()
    assert token in stage.answers
    stage.crash(0)
    stage.crash(1)
    stage.start(1)
    stage.advance(500)
    assert stage.role(1) == Role.SECONDARY
    stage.advance(500)
    assert stage.role(1) == Role.PRIMARY
    assert stage.answers[stage.read(1, K)] == b"v"


def test_a_dead_primary_is_replaced_after_the_grace_and_nothing_strong_is_lost() -> None:
    stage = Stage(3, 2).form()
    token = stage.put(0, K, b"v")
    stage.settle()
    assert token in stage.answers
    stage.crash(0)
    stage.advance(1_000)
    heir = next(seat for seat in (1, 2) if stage.role(seat) == Role.PRIMARY)
    assert stage.answers[stage.read(heir, K)] == b"v"
    stage.put(heir, K, b"w")
    stage.start(0)
    stage.advance(1_000)
    assert stage.value(0, K) == b"w"
    c = stage.coordinator.state.configuration
    assert c is not None
    assert len(c.in_sync) == 3


def test_a_member_that_is_far_behind_gets_a_copy() -> None:
    stage = Stage(2, 1, log_records_kept=10, copy_bytes_max=500).form(1)
    for number in range(100):
        stage.put(0, b"k%d" % number, b"v", Level.EVENTUAL)
    parts = 0
    stage.start(1)
    for _ in range(60):
        stage.advance(10, deliver=False)
        parts += len(stage.letters(CopyPart))
        stage.settle()
    assert stage.players[1].alive.statistics().branches.get("copy finished") == 1
    assert stage.role(1) == Role.SECONDARY
    stage.put(0, b"after", b"x")
    stage.advance(50)
    assert stage.players[1].store.entries == stage.players[0].store.entries


@pytest.mark.parametrize("restarts", [False, True])
def test_a_retry_is_known_to_a_member_that_joined_by_copy(restarts: bool) -> None:
    stage = Stage(2, 1, log_records_kept=40).form(1)
    for number in range(200):
        stage.put(0, b"k%d" % number, b"v", Level.EVENTUAL)
    operation = Operation(OperationKind.INCREMENT, K, delta=1, ttl_ns=-1)
    stage.write(0, operation, Level.STRONG, client=9, sequence=5)
    for number in range(20):
        stage.put(0, b"k%d" % number, b"w", Level.EVENTUAL)
    stage.start(1)
    stage.advance(500)
    assert stage.players[1].alive.statistics().branches["copy finished"] == 1
    if restarts:
        stage.crash(1)
        stage.start(1)
        stage.advance(500)
    stage.crash(0)
    stage.advance(1_500)
    token = stage.write(1, operation, Level.STRONG, client=9, sequence=5)
    assert stage.answers[token][0].number == 1
    assert stage.value(1, K) == b"1"


def test_who_leaves_is_succeeded_without_waiting() -> None:
    stage = Stage(2, 1).form()
    stage.put(0, K, b"v")
    stage.settle()
    stage.hand(0, Leave())
    assert not stage.leased(0)
    stage.settle()
    assert stage.role(1) == Role.PRIMARY
    assert stage.answers[stage.put(0, K, b"w")] == "NotPrimaryError"


def test_a_secondary_serves_sessions_that_it_has_caught_up_with() -> None:
    stage = Stage(2, 2).form()
    token = stage.put(0, K, b"v")
    stage.settle()
    version = stage.answers[token][0]
    stage.advance(20)
    stage.reads[500] = (1, K, int(Level.EVENTUAL))
    stage.hand(1, ReadAt(500, (K,), int(Level.EVENTUAL), version.epoch, version.lsn))
    assert stage.answers[500] == b"v"
    stage.hand(1, ReadAt(501, (K,), int(Level.EVENTUAL), version.epoch, version.lsn + 1))
    assert stage.answers[501] == "NotPrimaryError"
    stage.hand(1, ReadAt(502, (K,), int(Level.STRONG)))
    assert stage.answers[502] == "NotPrimaryError"


def test_entries_expire_by_the_horizon_and_are_removed_by_version() -> None:
    stage = Stage(1, 1).form()
    token = stage.put(0, K, b"v", ttl_ns=200 * MS)
    version = stage.answers[token][0]
    stage.hand(0, Expired(((K, version.epoch, version.lsn),)))
    assert stage.value(0, K) == b"v", "its time has not come"
    stage.advance(500)
    assert stage.answers[stage.read(0, K)] is None
    stage.hand(0, Expired(((K, version.epoch, version.lsn),)))
    assert stage.value(0, K) is None


def test_the_horizon_stands_still_while_nothing_expires() -> None:
    stage = Stage(1, 1).form()
    before = stage.players[0].alive.last_lsn
    stage.advance(3_000)
    assert stage.players[0].alive.last_lsn == before
    stage.hand(0, NextExpiry(stage.now(0).wall_ns + 100 * MS))
    stage.advance(1_000)
    assert 1 <= stage.players[0].alive.last_lsn - before <= 3


def test_an_hour_forwards_on_the_wall_clock_kills_nothing() -> None:
    stage = Stage(1, 1).form()
    stage.put(0, K, b"v", ttl_ns=60_000 * MS)
    stage.players[0].wall_offset_ns = 3_600_000 * MS
    stage.put(0, b"other", b"x", ttl_ns=10 * MS)
    stage.advance(5_000)
    assert stage.answers[stage.read(0, K)] == b"v"


def test_a_load_serves_everybody_who_waits() -> None:
    stage = Stage(1, 1).form()
    late = stage.now_ns + 10_000 * MS
    stage.hand(0, FillAsked(900, 1, K, late, True))
    stage.hand(0, FillAsked(901, 2, K, late, True))
    stage.hand(0, FillAsked(902, 3, K, late, False))
    assert stage.answers[902] == -1
    stage.hand(0, FillStored(903, stage.answers[900], Operation(OperationKind.SET, K, b"loaded"), 9, 1))
    assert stage.answers[901] == 0
    assert stage.answers[903][0].outcome == Outcome.DONE
    stage.hand(0, FillAsked(904, 3, K, late, True))
    assert stage.answers[904] == 0, "it is there: read again"
    stage.hand(0, FillAsked(905, 1, b"other", late, True))
    stage.hand(0, FillAsked(906, 2, b"other", late, True))
    stage.hand(0, FillFailed(907, stage.answers[905], "no such symbol"))
    assert stage.answers[906] == 0


def test_a_batch_sees_its_own_operations() -> None:
    stage = Stage(1, 1).form()
    operations = (
        Operation(OperationKind.ADD, K, b"1", 2),
        Operation(OperationKind.INCREMENT, K, delta=4, ttl_ns=-1),
        Operation(OperationKind.ADD, K, b"9"),
        Operation(OperationKind.DELETE, K),
        Operation(OperationKind.DELETE, K),
    )
    for level, key in ((Level.STRONG, 1), (Level.EVENTUAL, 2)):
        stage.hand(0, Submit(800 + key, operations, int(level), key, 1, 1))
        results = stage.answers[800 + key]
        assert [result.outcome for result in results] == [1, 1, 2, 1, 2]
        assert results[1].number == 5


def test_a_primary_whose_secondary_does_not_keep_up_refuses_at_a_bound() -> None:
    """What a failover would lose is bounded in records and in bytes (R25)."""
    stage = Stage(2, 2, uncommitted_records_max=5).form()
    for number in range(6):
        assert stage.answers[stage.put(0, b"k%d" % number, b"v", Level.EVENTUAL)][0].outcome == Outcome.DONE
    assert stage.answers[stage.put(0, K, b"v", Level.EVENTUAL)] == "BackpressureError"
    stage.settle()
    assert stage.answers[stage.put(0, K, b"v", Level.EVENTUAL)][0].outcome == Outcome.DONE
    heavy = Stage(2, 2, uncommitted_bytes_max=1_000).form()
    heavy.put(0, K, b"x" * 2_000, Level.EVENTUAL)
    assert heavy.answers[heavy.put(0, K, b"v", Level.EVENTUAL)] == "BackpressureError"
