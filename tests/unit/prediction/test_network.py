"""The network and its mixture with the tables: what it may learn, and that it cannot do harm."""

from __future__ import annotations

import random

import numpy as np
import pytest

from daycache_ray.prediction.features import NUMBERS_COUNT, features_of
from daycache_ray.prediction.mixture import Mixture
from daycache_ray.prediction.questions import NONE_PLACE, Questions, questions_of
from daycache_ray.prediction.training import OnlineTrainer

KEYS = [kind << 44 for kind in range(1, 9)]


def block(chance: random.Random, count: int) -> Questions:
    """Questions whose answer depends on the key six steps back; the tables see a coin that may fall either way."""
    histories, truths = [], []
    for _ in range(count):
        sign = chance.randrange(2)
        histories.append([KEYS[sign], *(KEYS[2 + place % 3] for place in range(5)), KEYS[5]])
        truths.append(KEYS[6 + sign])
    return questions_of(histories, [[KEYS[6], KEYS[7]]] * count, [[0.48, 0.48]] * count, truths)


def right(said: np.ndarray, questions: Questions) -> float:
    """Share of the questions whose likeliest class came."""
    return float((said.argmax(axis=1) == questions.truth).mean())


def test_an_untrained_network_says_what_the_tables_say() -> None:
    questions = questions_of([[KEYS[0], KEYS[1]]], [[KEYS[2], KEYS[3]]], [[0.7, 0.2]], [None])
    said = OnlineTrainer(seed=1).predict(questions)
    assert said.shape == (1, 33)
    assert said[0, [0, 1, NONE_PLACE]] == pytest.approx([0.7, 0.2, 0.1], abs=1e-4)
    assert said.sum() == pytest.approx(1.0, abs=1e-4)
    assert said[0, 2:NONE_PLACE].max() < 1e-6


def test_the_network_learns_what_two_keys_of_context_cannot_tell() -> None:
    chance = random.Random(4)
    trainer = OnlineTrainer(seed=2, rate=1e-2)
    before = block(chance, 256)
    assert right(trainer.predict(before), before) < 0.65
    for _ in range(60):
        trainer.learn(block(chance, 64))
    after = block(chance, 256)
    assert right(trainer.predict(after), after) > 0.95


def test_weights_travel_as_bytes_and_mean_the_same_afterwards() -> None:
    chance = random.Random(5)
    taught, fresh = OnlineTrainer(seed=3, rate=1e-2), OnlineTrainer(seed=99)
    for _ in range(5):
        taught.learn(block(chance, 64))
    questions = block(chance, 32)
    stored = taught.save()
    assert b"pickle" not in stored
    fresh.load(stored)
    np.testing.assert_array_equal(fresh.predict(questions), taught.predict(questions))


@pytest.mark.parametrize("damage", ["empty", "cut", "objects", "other", "infinite"])
def test_bytes_that_are_no_weights_are_refused_and_change_nothing(damage: str) -> None:
    import io
    import zipfile

    trainer = OnlineTrainer(seed=6)
    questions = block(random.Random(6), 8)
    before = trainer.predict(questions)
    stored = trainer.save()
    with np.load(io.BytesIO(stored)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    buffer = io.BytesIO()
    if damage == "objects":
        np.savez(buffer, **(arrays | {"trust": np.array([{}, {}], dtype=object)}))
    elif damage == "other":
        np.savez(buffer, **(arrays | {"trust": np.ones(3, np.float32)}))
    elif damage == "infinite":
        np.savez(buffer, **(arrays | {"trust": np.array([1.0, np.inf], np.float32)}))
    elif damage == "cut":
        buffer.write(stored[: len(stored) // 2])
    assert damage in ("empty", "cut") or zipfile.is_zipfile(buffer)
    with pytest.raises(ValueError, match="train anew"):
        trainer.load(buffer.getvalue())
    np.testing.assert_array_equal(trainer.predict(questions), before)


def test_equal_seeds_and_lessons_give_equal_weights() -> None:
    trainers = [OnlineTrainer(seed=7), OnlineTrainer(seed=7)]
    for trainer in trainers:
        trainer.learn(block(random.Random(8), 64))
    assert trainers[0].save() == trainers[1].save()


def test_questions_without_an_answer_teach_nothing() -> None:
    trainer = OnlineTrainer(seed=9)
    stored = trainer.save()
    open_questions = questions_of([[KEYS[0]]], [[KEYS[1]]], [[0.5]], [None])
    assert trainer.learn(open_questions) == 0.0
    assert trainer.lessons_count == 0
    assert trainer.save() == stored
    assert trainer.predict(questions_of([], [], [], [])).shape == (0, 33)


def test_features_do_not_look_at_the_truth_and_pad_with_nothing() -> None:
    known = questions_of([[KEYS[0], KEYS[1]]], [[KEYS[2]]], [[0.5]], [KEYS[2]])
    unknown = known._replace(truth=np.array([-1]))
    for one, other in zip(features_of(known), features_of(unknown), strict=True):
        np.testing.assert_array_equal(one, other)
    features = features_of(known)
    assert features.numbers.shape == (1, 32, NUMBERS_COUNT)
    assert not features.numbers[0, 1:].any()
    assert not features.candidate_keys[0, 1:].any()
    assert np.isfinite(features.said_log).all()


def surprise(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Nats per question."""
    return -np.log(said[np.arange(len(truth)), truth])


@pytest.mark.parametrize("better", [0, 1, None])
def test_the_mixture_is_never_far_behind_its_best_member(better: int | None) -> None:
    chance = np.random.default_rng(10)
    mixture = Mixture(2)
    sums = np.zeros(3)
    for _ in range(100):
        truth = chance.integers(0, 33, 128)
        members = []
        for member in range(2):
            sure = 0.9 if better == member else 0.3
            said = np.full((128, 33), (1 - sure) / 32, np.float32)
            guess = np.where(
                chance.random(128) < (0.9 if better == member else 0.3), truth, chance.integers(0, 33, 128)
            )
            said[np.arange(128), guess] = sure
            members.append(said)
        mixed = mixture.blend(members)
        np.testing.assert_allclose(mixed.sum(axis=1), 1.0, atol=1e-4)
        sums += [surprise(said, truth).sum() for said in (*members, mixed)]
        mixture.learn(members, truth)
    best = sums[:2].min()
    assert sums[2] <= best * 1.02 + 30.0
    np.testing.assert_allclose(mixture.weights.sum(axis=1), 1.0)


def test_a_member_that_was_bad_comes_back_when_it_is_good() -> None:
    mixture = Mixture(2)
    truth = np.zeros(64, np.int64)
    sharp, dull = np.full((64, 33), 0.1 / 32, np.float32), np.full((64, 33), 1 / 33, np.float32)
    sharp[:, 0] = 0.9
    for _ in range(20):
        mixture.learn([dull, sharp], truth)
    assert mixture.weights[0, 1] > 0.95
    for _ in range(5):
        mixture.learn([dull, sharp], truth + 1)
    assert mixture.weights[0, 0] > 0.95
