"""The trainer's class without its actor: lessons in, versions of weights out; and what a replica takes of them."""

import asyncio

import numpy as np
import pytest

from daycache_ray.actors import trainer as trainer_module
from daycache_ray.actors.trainer import WAITING_MAX, Trainer
from daycache_ray.prediction.questions import questions_of
from daycache_ray.prediction.training import OnlineTrainer
from daycache_ray.serve.predictor import PredictorDeployment, _check
from daycache_ray.words.config import ClusterConfig


def _lesson(count: int = 64):
    rows = range(count)
    return questions_of(
        [(row % 5 + 1, row % 7 + 1) for row in rows],
        [[100 + row % 7, 200, 300] for row in rows],
        [[0.2, 0.5, 0.1] for _ in rows],
        [100 + row % 7 for row in rows],
    )


@pytest.fixture
async def trainer():
    trainer = Trainer("c", ClusterConfig())
    yield trainer
    await trainer.close()


async def test_a_lesson_makes_a_version_that_a_replica_can_take(trainer):
    assert await trainer.weights(0) is None
    assert await trainer.learn(_lesson())
    version, stored = await trainer.weights(0)
    assert version > 1_700_000_000, "a trainer that takes this one's place begins above it"
    assert await trainer.weights(version) is None
    other = OnlineTrainer(seed=7)
    other.load(stored)
    assert np.allclose(other.predict(_lesson()), trainer._network.predict(_lesson()))
    counted = await trainer.statistics()
    assert (counted.lessons_count, counted.version) == (64, version)
    assert counted.surprise > 0.0


async def test_it_learns(trainer):
    for _ in range(40):
        await trainer.learn(_lesson())
    said = trainer._network.predict(_lesson())
    assert said[:, 0].mean() > 0.5, "the tables said 0.2"


async def test_versions_come_at_a_pace(trainer, monkeypatch):
    monkeypatch.setattr(trainer_module, "PUBLISH_S", 3_600.0)
    trainer._published_s = -1e9
    await trainer.learn(_lesson())
    first = (await trainer.statistics()).version
    await trainer.learn(_lesson())
    assert (await trainer.statistics()).version == first
    trainer._published_s = -1e9
    await trainer.learn(_lesson())
    assert (await trainer.statistics()).version == first + 1


async def test_too_many_lessons_are_left_out(trainer):
    answers = await asyncio.gather(*(trainer.learn(_lesson(8)) for _ in range(WAITING_MAX + 3)))
    assert answers.count(False) == 3
    assert (await trainer.statistics()).skipped_count == 3


def test_a_replica_keeps_its_weights_when_new_ones_are_broken():
    replica = PredictorDeployment("c")
    before = replica._network.predict(_lesson())
    replica._take(5, b"no weights at all")
    assert replica._version == 5, "the same broken ones are not fetched for ever"
    assert replica._refused_versions_count == 1
    assert np.array_equal(before, replica._network.predict(_lesson()))


def test_an_untrained_replica_says_what_the_tables_say():
    said = PredictorDeployment("c")._network.predict(_lesson())
    assert said.shape == (64, 33)
    assert np.allclose(said[:, :3], [0.2, 0.5, 0.1], atol=1e-3)
    assert np.allclose(said.sum(axis=1), 1.0, atol=1e-3)


def test_questions_that_do_not_fit_are_refused():
    good = _lesson()
    _check(good)
    with pytest.raises(ValueError, match="shapes"):
        _check(good._replace(counts=good.counts[:5]))
    with pytest.raises(ValueError, match="at most"):
        _check(_lesson(5_000))
