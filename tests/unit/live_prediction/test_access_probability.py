"""Whether the estimator learns what comes back, says honest numbers, and stays small."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daycache_ray.structures.access_probability import AccessProbability


def _skewed(count: int, seed: int = 1, hot: int = 20) -> list[int]:
    """Half of all requests go to a few keys, the rest to keys that never come back."""
    rng = random.Random(seed)
    return [rng.randrange(hot) if rng.random() < 0.5 else 1_000 + number for number in range(count)]


def test_an_unknown_key_has_no_probability():
    assert AccessProbability().probability(1) is None


def test_keys_that_come_back_are_told_from_those_that_do_not():
    estimator = AccessProbability()
    stream = _skewed(6_000)
    for key in stream:
        estimator.observe(key)
    hot = [estimator.probability(key) for key in range(20)]
    once = [estimator.probability(key) for key in stream[-40:] if key >= 1_000]
    assert min(hot) > 0.5
    assert max(once) < 0.3


def test_what_is_said_is_what_happens():
    estimator = AccessProbability()
    stream = _skewed(12_000, seed=2, hot=10)
    said, came = [], []
    for place, key in enumerate(stream):
        estimator.observe(key)
        if 4_000 <= place < len(stream) - 64 and place % 5 == 0:
            said.append(estimator.probability(key))
            came.append(key in stream[place + 1 : place + 65])
    assert sum(said) / len(said) == pytest.approx(sum(came) / len(came), abs=0.03)
    sure = [yes for p, yes in zip(said, came, strict=True) if p >= 0.85]
    assert len(sure) > 50
    assert sum(sure) / len(sure) >= 0.85
    assert estimator.statistics().calibration_error_ratio < 0.08


def test_a_key_left_alone_becomes_unlikely():
    estimator = AccessProbability()
    for key in _skewed(4_000, seed=3):
        estimator.observe(key)
    estimator.observe(5)
    before = estimator.probability(5)
    for number in range(3_000):
        estimator.observe(50_000 + number)
    assert estimator.probability(5) < before / 2


def test_a_label_is_known_only_after_the_horizon():
    estimator = AccessProbability(horizon=64, learn_every=1)
    for number in range(64):
        estimator.observe(number)
    assert estimator.statistics().examples_count == 0
    for number in range(10):
        estimator.observe(1_000 + number)
    assert 0 < estimator.statistics().examples_count <= 20


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=200), st.integers(1, 8))
def test_memory_is_bounded_and_probabilities_are_probabilities(keys, learn_every):
    estimator = AccessProbability(keys_max=1_025, learn_every=learn_every)
    for key in keys * 12:
        estimator.observe(key)
        assert 0.0 < estimator.probability(key) < 1.0
    assert estimator.statistics().keys_count <= 1_025


def test_more_keys_than_it_may_remember():
    estimator = AccessProbability(keys_max=1_100)
    for key in range(5_000):
        estimator.observe(key)
    assert estimator.statistics().keys_count == 1_100
    assert estimator.probability(0) is None
