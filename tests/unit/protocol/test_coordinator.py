"""The coordinator's machine: compare-and-set, seats that come back, seats that do not."""

from __future__ import annotations

import msgspec
import pytest

from daycache_ray.protocol.coordinator import ShardCoordinator
from daycache_ray.words.messages import (
    AskConfiguration,
    Configuration,
    CoordinatorEffect,
    CoordinatorInput,
    CoordinatorState,
    Intent,
    MemberDied,
    Persist,
    Propose,
    Register,
    Registered,
    SendConfigure,
    StoreLost,
)
from daycache_ray.words.types import Instant, Member, ShardId

SHARD = ShardId("orders", 3)
NOW = Instant(0, 0)


class Desk:
    """A coordinator with a memory of what it said."""

    def __init__(self, seats: int = 2, state: CoordinatorState | None = None) -> None:
        self.machine = ShardCoordinator(SHARD, seats, state)
        self.effects: tuple[CoordinatorEffect, ...] = ()

    def say(self, message: CoordinatorInput) -> tuple[CoordinatorEffect, ...]:
        self.effects = self.machine.handle(message, NOW)
        return self.effects

    def register(self, seat: int, store: int, node: str = "a", epoch: int = 0, lsn: int = 0) -> Member:
        answers = [e for e in self.say(Register(1, seat, node, store, epoch, lsn)) if isinstance(e, Registered)]
        return answers[0].member

    def propose(self, member: Member, intent: Intent, *subjects: Member) -> None:
        self.say(Propose(SHARD, member, self.c.epoch, intent, subjects))

    @property
    def c(self) -> Configuration:
        assert self.machine.state.configuration is not None
        return self.machine.state.configuration


def _pair() -> tuple[Desk, Member, Member]:
    desk = Desk()
    p, s = desk.register(0, 100, "a"), desk.register(1, 200, "b")
    desk.propose(p, Intent.ADD, s)
    assert desk.c.in_sync == (p, s)
    return desk, p, s


def test_the_first_seat_forms_the_shard_and_others_join_by_growth() -> None:
    desk = Desk()
    p = desk.register(1, 100)
    assert (desk.c.epoch, desk.c.term, desk.c.primary, desk.c.in_sync) == (1, 1, p, (p,))
    s = desk.register(0, 200)
    assert (desk.c.epoch, desk.c.in_sync, desk.c.members, desk.c.revision) == (1, (p,), (s, p), 1)
    assert [e.member for e in desk.effects if isinstance(e, SendConfigure)] == [p]


def test_every_answer_follows_its_persist() -> None:
    desk, p, s = _pair()
    for message in (
        Register(1, 2, "c", 300, 0, 0),
        Propose(SHARD, p, desk.c.epoch, Intent.KEEP, ()),
        StoreLost(s),
    ):
        kinds = [type(effect) for effect in desk.say(message)]
        assert kinds[0] is Persist, kinds
        assert kinds.count(Persist) == 1


def test_an_old_epoch_changes_nothing_and_hears_the_present() -> None:
    desk, _p, s = _pair()
    before = desk.c
    effects = desk.say(Propose(SHARD, s, before.epoch - 1, Intent.PROMOTE, ()))
    assert desk.c == before
    assert [e.message.configuration for e in effects if isinstance(e, SendConfigure)] == [before]


def test_only_a_member_of_the_set_is_promoted_and_the_old_primary_leaves() -> None:
    desk, p, s = _pair()
    outsider = desk.register(2, 300, "c")
    desk.propose(outsider, Intent.PROMOTE)
    assert desk.c.primary == p
    desk.propose(s, Intent.PROMOTE)
    assert (desk.c.primary, desk.c.in_sync, desk.c.term) == (s, (s,), desk.c.epoch)


def test_only_the_primary_changes_the_set() -> None:
    desk, p, s = _pair()
    desk.propose(s, Intent.DROP, p)
    assert desk.c.in_sync == (p, s)
    term = desk.c.term
    desk.propose(p, Intent.DROP, s, p)
    assert (desk.c.in_sync, desk.c.term) == ((p,), term)


def test_a_secondary_that_comes_back_on_its_store_keeps_its_seat() -> None:
    desk, p, s = _pair()
    again = desk.register(1, 200, "b")
    assert again != s
    assert (desk.c.in_sync, desk.c.primary) == ((p, again), p)


def test_a_secondary_that_comes_back_empty_does_not() -> None:
    desk, p, _ = _pair()
    again = desk.register(1, 999, "b")
    assert desk.c.in_sync == (p,)
    assert again in desk.c.members


def test_a_primary_that_comes_back_on_its_store_goes_on_in_a_new_term() -> None:
    desk, _p, s = _pair()
    again = desk.register(0, 100, "a")
    assert (desk.c.primary, desk.c.in_sync, desk.c.term) == (again, (again, s), desk.c.epoch)


def test_a_primary_that_comes_back_empty_leaves_the_shard_to_the_others() -> None:
    desk, p, s = _pair()
    desk.register(0, 999, "a")
    assert (desk.c.primary, desk.c.in_sync) == (p, (s,))
    desk.propose(s, Intent.PROMOTE)
    assert desk.c.primary == s


def test_the_only_replica_goes_on_with_its_store_or_after_its_loss() -> None:
    desk = Desk(seats=1)
    desk.register(0, 100, "a")
    again = desk.register(0, 100, "a")
    assert (desk.c.primary, desk.machine.state.unclean_count) == (again, 0)
    wiped = desk.register(0, 101, "a")
    assert (desk.c.primary, desk.machine.state.unclean_count) == (wiped, 1)
    elsewhere = desk.register(0, 102, "b")
    assert desk.c.primary == wiped, "another node proves nothing about the former process"
    desk.say(StoreLost(wiped))
    assert (desk.c.primary, desk.machine.state.unclean_count) == (elsewhere, 2)


def test_news_of_a_death_promotes_nobody() -> None:
    desk, p, s = _pair()
    before = desk.c
    desk.say(MemberDied(p))
    assert (desk.c.primary, desk.c.in_sync, desk.c.epoch) == (p, (p, s), before.epoch)
    desk.say(MemberDied(s))
    assert desk.c.primary == p


def test_a_lost_secondary_leaves_and_a_lost_set_goes_to_the_newest() -> None:
    desk, p, s = _pair()
    third = desk.register(2, 300, "c", epoch=1, lsn=50)
    fourth = desk.register(3, 400, "d", epoch=1, lsn=70)
    desk.say(StoreLost(s))
    assert desk.c.in_sync == (p,)
    desk.say(StoreLost(p))
    assert (desk.c.primary, desk.c.in_sync) == (fourth, (fourth,))
    assert third in desk.c.members


def test_who_resigns_is_succeeded_at_once() -> None:
    desk, p, s = _pair()
    desk.propose(p, Intent.RESIGN)
    assert (desk.c.primary, desk.c.in_sync) == (s, (s,))
    desk.propose(s, Intent.RESIGN)
    assert desk.c.in_sync == (s,), "the last one keeps its seat for its return"


def test_who_asks_makes_the_primary_hear_it_too() -> None:
    desk, p, s = _pair()
    desk.say(AskConfiguration(SHARD, s))
    assert [e.member for e in desk.effects if isinstance(e, SendConfigure)] == [s, p]


def test_a_coordinator_without_memory_waits_for_all_stores_and_takes_the_newest() -> None:
    desk = Desk(seats=2)
    desk.register(0, 100, "a", epoch=4, lsn=70)
    assert desk.machine.state.configuration is None
    best = desk.register(1, 200, "b", epoch=5, lsn=60)
    assert (desk.c.primary, desk.c.epoch) == (best, 6)


def test_the_state_survives_encoding() -> None:
    desk, _p, s = _pair()
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(desk.machine.state), type=CoordinatorState)
    again = Desk(state=saved)
    assert again.c == desk.c
    again.propose(s, Intent.PROMOTE)
    assert again.c.primary == s
    with pytest.raises(AssertionError, match="is not that of"):
        ShardCoordinator(ShardId("orders", 4), 2, saved)
