"""The scripted races: each rule keeps its promise, and without the rule the same script breaks it."""

from __future__ import annotations

import pytest

from daycache_ray.simulation.mutations import CHECKED_ELSEWHERE, RACES, RULES
from daycache_ray.simulation.stage import MS, Stage, of_kind
from daycache_ray.words.messages import ConnectionClosed, FillAsked, Prepare, PrepareAck
from daycache_ray.words.operations import Level

K = b"k"


@pytest.mark.parametrize("rule", RACES)
def test_the_rule_keeps_the_promise(rule: str) -> None:
    assert RACES[rule](frozenset()), RACES[rule].__doc__


@pytest.mark.parametrize("rule", RACES)
def test_without_the_rule_it_is_broken(rule: str) -> None:
    assert not RACES[rule](frozenset({rule})), f"{rule} makes no difference here: the race does not test it"


def test_every_rule_has_a_race_or_a_sentence_that_says_where_it_is_checked() -> None:
    assert set(RACES) | set(CHECKED_ELSEWHERE) == set(RULES)
    assert not set(RACES) & set(CHECKED_ELSEWHERE)


def test_effects_of_a_commit_are_in_the_order_in_which_others_may_hear_of_them() -> None:
    """Visible in the store, then on the fence page, then answered (R13)."""
    stage = Stage(2, 2).form()
    stage.put(0, K, b"v")
    stage.deliver(of_kind(Prepare, 1))
    stage.deliver(of_kind(PrepareAck, 0))
    kinds = [type(effect).__name__ for effect in stage.players[0].effects]
    order = [kinds.index(name) for name in ("Apply", "Commit", "PublishFence", "Answer")]
    assert order == sorted(order), kinds


def test_a_closed_connection_frees_its_loads_at_once() -> None:
    """The loader's process died: who waited loads instead, long before the deadline (R32)."""
    stage = Stage(1, 1).form()
    stage.hand(0, FillAsked(900, 5, K, stage.now_ns + 10_000 * MS, True))
    stage.hand(0, FillAsked(901, 6, K, stage.now_ns + 10_000 * MS, True))
    assert 901 not in stage.answers
    stage.hand(0, ConnectionClosed(5))
    assert stage.answers[901] > stage.answers[900]


def test_an_eventual_write_waits_for_company_but_no_strong_answer_waits_for_it() -> None:
    stage = Stage(2, 2, ship_ns=MS).form()
    stage.put(0, K, b"a", Level.EVENTUAL)
    sent = [letter for letter in stage.mail if isinstance(letter.message, Prepare) and letter.message.records]
    assert not sent, "it is sent with those of the next millisecond"
    token = stage.read(0, K)
    stage.settle()
    assert stage.answers[token] == b"a", "the read that was parked for it sends it at once"
