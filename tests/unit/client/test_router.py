"""Where to go, when to try again and what a session has seen: decided without a clock, a thread or a socket."""

from __future__ import annotations

import random

import pytest

from daycache_ray.client.router import (
    ATTEMPT_S,
    PAUSE_S_MAX,
    PAUSE_S_MIN,
    Retry,
    Router,
    Sequences,
    SessionToken,
    attempt_s,
)
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import (
    BackpressureError,
    CacheError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotEnoughReplicasError,
    NotPrimaryError,
    RegionFullError,
    ServerError,
    ShardUnavailableError,
    StaleEpochError,
    UnknownOutcomeError,
)
from daycache_ray.words.types import ShardId
from tests.unit.client.one_replica import cluster_map, member

SHARD = ShardId("orders", 0)
REGION = RegionConfig(name="orders", shards=2)


def retry(*, writes: bool = True, deadline_at_s: float = 5.0) -> Retry:
    return Retry(SHARD, deadline_at_s, writes=writes, rng=random.Random(1))


def exhaust(machine: Retry, error: CacheError) -> CacheError:
    """Repeat an error until the machine gives up; return what the caller hears."""
    now_s = 0.0
    for _ in range(10_000):
        try:
            now_s += machine.after(error, now_s, 1).seconds
        except CacheError as final:
            assert now_s <= machine.deadline_at_s
            return final
    raise AssertionError("it never gives up")


def test_members_of_this_node_stand_with_the_primary_first() -> None:
    members = (member(0, node_id="here"), member(1, node_id="far"), member(2, node_id="here"))
    router = Router(cluster_map(REGION, members=members, primary_seat=2), "here")
    assert [found.seat for found in router.near_members(SHARD)] == [2, 0]
    primary = router.primary(SHARD)
    assert primary is not None
    assert primary.seat == 2


def test_reads_from_any_copy_go_round_the_members_beginning_with_the_primary() -> None:
    members = (member(0), member(1, in_sync=False), member(2))
    router = Router(cluster_map(REGION, members=members, primary_seat=2), "here")
    found = [router.any_member(SHARD, attempt) for attempt in range(4)]
    assert [one.seat for one in found if one is not None] == [2, 0, 1, 2]


def test_a_shard_without_a_primary() -> None:
    router = Router(cluster_map(REGION, primary_seat=-1), "here")
    assert router.primary(SHARD) is None
    assert router.any_member(SHARD, 0) is not None


def test_pauses_grow_to_their_limit_and_vary() -> None:
    machine = retry(deadline_at_s=1e9)
    pauses = [machine.after(NotPrimaryError("no"), 0.0, 1).seconds for _ in range(12)]
    assert PAUSE_S_MIN / 2 <= pauses[0] <= PAUSE_S_MIN
    assert all(PAUSE_S_MAX / 2 <= pause <= PAUSE_S_MAX for pause in pauses[7:])
    assert len(set(pauses)) == len(pauses)


@pytest.mark.parametrize(
    ("error", "wakes"),
    [
        (NotPrimaryError("x"), True),
        (StaleEpochError("x"), True),
        (ShardUnavailableError("x"), True),
        (UnknownOutcomeError("x"), True),
        (NotEnoughReplicasError("x"), True),
        (BackpressureError("x", retry_after_s=0.3), False),
    ],
)
def test_a_new_map_ends_the_pause_where_it_can_help(error: CacheError, wakes: bool) -> None:
    assert retry().after(error, 0.0, 1).wakes is wakes


def test_backpressure_says_how_long() -> None:
    assert retry().after(BackpressureError("x", retry_after_s=0.3), 0.0, 1).seconds == pytest.approx(0.3)


@pytest.mark.parametrize("error", [InvalidArgumentError("x"), RegionFullError("x"), ServerError("x")])
def test_what_a_repetition_cannot_help_is_raised_at_once(error: CacheError) -> None:
    with pytest.raises(type(error)):
        retry().after(error, 0.0, 1)


@pytest.mark.parametrize(
    ("error", "writes", "final"),
    [
        (NotPrimaryError("x"), True, ShardUnavailableError),
        (ShardUnavailableError("x"), False, ShardUnavailableError),
        (NotEnoughReplicasError("x"), True, NotEnoughReplicasError),
        (UnknownOutcomeError("x"), True, UnknownOutcomeError),
        (UnknownOutcomeError("x"), False, DeadlineExceededError),
    ],
)
def test_what_the_caller_hears_at_the_deadline(error: CacheError, writes: bool, final: type[CacheError]) -> None:
    assert type(exhaust(retry(writes=writes), error)) is final


def test_a_write_that_may_have_happened_stays_one_whatever_comes_later() -> None:
    machine = retry()
    machine.after(UnknownOutcomeError("sent, then silence"), 0.0, 1)
    assert isinstance(exhaust(machine, NotPrimaryError("x")), UnknownOutcomeError)


def test_an_attempt_leaves_time_for_another_and_gives_large_messages_more() -> None:
    assert attempt_s(5.0) == ATTEMPT_S
    assert attempt_s(0.1) == pytest.approx(0.1)
    assert attempt_s(5.0, size_bytes=100_000_000) == pytest.approx(ATTEMPT_S + 2.0)
    assert attempt_s(-94.0) > 0


def test_a_token_only_rises() -> None:
    token = SessionToken()
    for epoch, lsn in [(1, 5), (1, 3), (2, 1), (1, 99), (2, 0)]:
        token.observe(epoch, lsn)
    assert (token.epoch, token.lsn) == (2, 1)


def test_sequences_say_what_is_still_awaited() -> None:
    sequences = Sequences()
    first, second = sequences.take(3), sequences.take(1)
    assert (first, second, sequences.unanswered()) == (1, 4, 1)
    sequences.done(second)
    assert sequences.unanswered() == 1
    sequences.done(first)
    assert sequences.unanswered() == 5


def test_a_new_map_begins_with_short_pauses_again() -> None:
    machine = retry(deadline_at_s=1e9)
    last = [machine.after(NotPrimaryError("no"), 0.0, 1).seconds for _ in range(8)][-1]
    fresh = machine.after(NotPrimaryError("no"), 0.0, 2).seconds
    assert last >= 0.1 > 0.005 >= fresh
    assert machine.after(NotPrimaryError("no"), 0.0, 2).seconds <= 0.01
