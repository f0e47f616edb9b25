"""The whole of it on small worlds: chains, clients, keys never seen, bounded memory."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daycache_ray.structures.prediction.calibration import Calibration
from daycache_ray.structures.prediction.chain import roll_chain
from daycache_ray.structures.prediction.key_numbers import KeyNumbers
from daycache_ray.structures.prediction.predictor import Predictor
from daycache_ray.structures.prediction.ranker import SoftmaxRanker
from daycache_ray.structures.prediction.threshold import HIGHEST_RATIO, LOWEST_RATIO, ThresholdController

CHAIN = [11 << 44, 22 << 44, 33 << 44, 44 << 44]


def taught(keys: list[int], client: int = 0) -> Predictor:
    """Return a predictor that was asked before every key."""
    predictor = Predictor(contexts_max=1024)
    for key in keys:
        predictor.observe(client, key)
        predictor.predict(client)
    return predictor


def test_a_chain_is_learned_and_said_with_confidence() -> None:
    predictor = taught(CHAIN * 50)
    [(key, probability), *_] = predictor.predict(0)
    assert key == CHAIN[0]
    assert probability > 0.9


def test_probabilities_are_probabilities() -> None:
    chance = random.Random(1)
    predictor = taught([chance.randrange(20) for _ in range(500)])
    ranking = predictor.ranking(0)
    assert ranking is not None
    assert len(ranking.found) <= 32
    assert 0.0 < sum(ranking.probabilities) <= 1.0 + 1e-9
    assert all(0.0 <= probability <= 1.0 for _, probability in predictor.predict(0, count=32))


def test_a_chain_is_rolled_forward_with_falling_probability() -> None:
    predictor = taught(CHAIN * 50)
    rolled = predictor.roll(0, 3, 0.2)
    assert [step.key for step in rolled[:3]] == CHAIN[:3]
    assert [step.step for step in rolled[:3]] == [1, 2, 3]
    assert rolled[0].probability >= rolled[1].probability >= rolled[2].probability


def test_a_roll_is_the_same_whether_continued_or_begun() -> None:
    walked, begun = taught(CHAIN * 50), taught(CHAIN * 50)
    for key in CHAIN[:2]:
        walked.roll(0, 4, 0.2)
        walked.observe(0, key)
        begun.observe(0, key)
    assert [step.key for step in walked.roll(0, 4, 0.2)] == [step.key for step in begun.roll(0, 4, 0.2)]


def test_what_was_said_ahead_does_not_outlive_the_way_there() -> None:
    predictor = taught(CHAIN * 50)
    predictor.roll(0, 8, 0.2)
    for _ in range(300):  # since then the chain goes on differently, and nobody rolled
        for key in (*CHAIN[:3], 77 << 44, 88 << 44):
            predictor.observe(0, key)
    for key in CHAIN[:3]:
        predictor.observe(0, key)
    assert predictor.predict(0)[0][0] == 77 << 44


def test_noise_is_said_to_be_unpredictable() -> None:
    chance = random.Random(2)
    predictor = taught([chance.randrange(1 << 40) << 3 for _ in range(2000)])
    assert predictor.roll(0, 8, 0.2) == []


def test_clients_have_streams_of_their_own() -> None:
    predictor = Predictor(contexts_max=1024)
    for _ in range(60):
        for step in range(4):
            for client in range(3):
                predictor.observe(client, CHAIN[(step + client) % 4])
                predictor.predict(client)
    assert [predictor.predict(client)[0][0] for client in range(3)] == [CHAIN[0], CHAIN[1], CHAIN[2]]


def test_a_client_that_was_never_seen_has_no_prediction() -> None:
    predictor = Predictor()
    assert predictor.predict(5) == []
    assert predictor.roll(5, 8, 0.2) == []
    assert predictor.ranking(5) is None


def test_a_key_nobody_asked_for_is_named_by_field_transfer() -> None:
    numbers = KeyNumbers()
    symbols = [f"S{chr(65 + first)}{chr(65 + second)}" for first in range(6) for second in range(6)]
    predictor = Predictor(contexts_max=4096)
    for minute in range(931, 940):
        for symbol in symbols:
            for key in (f"quote:{symbol}", f"candle:{symbol}:{minute:04d}"):
                predictor.observe(0, numbers.number_of(key))
                predictor.predict(0)
    predictor.observe(0, numbers.number_of(f"quote:{symbols[0]}"))
    predictor.observe(0, numbers.number_of(f"candle:{symbols[0]}:0940"))
    predictor.observe(0, numbers.number_of(f"quote:{symbols[1]}"))
    named = [numbers.text_of(key) for key, _ in predictor.predict(0, count=5)]
    assert f"candle:{symbols[1]}:0940" in named[:2]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**64 - 1)), max_size=150))
def test_memory_is_bounded_whatever_comes(accesses: list[tuple[int, int]]) -> None:
    predictor = Predictor(contexts_max=32, clients_max=4)
    for client, key in accesses:
        predictor.observe(client, key)
        assert all(0 <= name < 2**64 for name, _ in predictor.predict(client, count=32))
        assert len(predictor.roll(client, 4, 0.1)) <= 4 * 32
    assert predictor.contexts_count <= 8 * 32 + 2 + 32
    assert repr(predictor).startswith("<Predictor")


def test_none_of_them_is_learned() -> None:
    ranker = SoftmaxRanker([0.0] * 4, rate=0.5)
    for _ in range(100):
        ranker.learn(ranker.rank([[0], [1]], [2]), [[0], [1]], [2], truth=-1)
    assert sum(ranker.rank([[0], [1]], [2])) < 0.1
    assert ranker.rank([], [2]) == []


def test_calibration_corrects_what_is_said_too_boldly() -> None:
    calibration = Calibration()
    for turn in range(2000):
        calibration.learn(0.9, turn % 2 == 0)
    assert calibration.corrected(0.9) == pytest.approx(0.5, abs=0.02)
    assert calibration.corrected(0.1) == 0.1


def test_a_chain_ends_where_it_becomes_unlikely() -> None:
    rolled = roll_chain(0, lambda place: [(place + 1, 0.5)], lambda place, key: key, steps=16, floor_ratio=0.2)
    assert [step.probability for step in rolled] == [0.5, 0.25]


def test_the_threshold_falls_while_it_pays_and_rises_when_it_does_not() -> None:
    controller = ThresholdController(0.2)
    for _ in range(2000):
        controller.saved()
    assert controller.threshold_ratio == LOWEST_RATIO
    for _ in range(5000):
        controller.wasted()
    assert controller.threshold_ratio == HIGHEST_RATIO
    assert controller.wasted_per_saved > 0.5
