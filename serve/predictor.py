"""The network behind Ray Serve: batches of questions in, probabilities out, weights fetched from the trainer.

One replica holds the network. It knows no cache and is on nobody's path: the prefetcher asks it in
batches and goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import ray
import structlog

from daycache_ray.prediction.questions import CANDIDATES_COUNT, HISTORY_COUNT, Questions
from daycache_ray.words.naming import NAMESPACE, trainer_name

if TYPE_CHECKING:
    from ray import serve

POLL_S: Final = 1.0
"""How often the trainer is asked for newer weights."""

QUESTIONS_MAX: Final = 4_096

_log = structlog.get_logger("daycache.predictor")


class PredictorDeployment:
    """What one replica runs."""

    def __init__(self, cluster_name: str) -> None:
        import torch

        from daycache_ray.prediction.training import OnlineTrainer

        torch.set_num_threads(1)
        self._cluster_name = cluster_name
        self._network = OnlineTrainer()
        self._version = 0
        self._answers_count = 0
        self._refused_versions_count = 0
        self._poll: asyncio.Task[None] | None = None

    async def score(self, questions: Questions) -> npt.NDArray[np.float32]:
        """Return probabilities, (n, 33): each question's candidates in their order, then "none of them".

        Raises:
            ValueError: the arrays do not fit together, or are more than 4 096 questions: ask in parts.
        """
        self._keep_fresh()
        _check(questions)
        said = self._network.predict(questions)
        self._answers_count += len(said)
        return said

    async def version(self) -> int:
        """Return the version of the weights in use; 0 means untrained, which says what the tables say."""
        self._keep_fresh()
        return self._version

    async def statistics(self) -> dict[str, int]:
        """Return counts since the start."""
        return {
            "version": self._version,
            "answers_count": self._answers_count,
            "refused_versions_count": self._refused_versions_count,
        }

    def check_health(self) -> None:
        """Called by Serve; also where polling begins when nobody has asked yet."""
        with contextlib.suppress(RuntimeError):  # no running loop in the thread that calls
            self._keep_fresh()

    def _keep_fresh(self) -> None:
        if self._poll is None or self._poll.done():
            self._poll = asyncio.get_running_loop().create_task(self._fetch_for_ever())

    async def _fetch_for_ever(self) -> None:
        trainer: Any = None
        while True:
            try:
                if trainer is None:
                    trainer = ray.get_actor(trainer_name(self._cluster_name), namespace=NAMESPACE)
                newer = await trainer.weights.remote(self._version)
                if newer is not None:
                    self._take(*newer)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # a trainer that is gone leaves the weights as they are
                trainer = None
                _log.info("trainer not reached", reason=type(error).__name__)
            await asyncio.sleep(POLL_S)

    def _take(self, version: int, weights: bytes) -> None:
        self._version = version
        try:
            self._network.load(weights)
        except ValueError as error:
            self._refused_versions_count += 1
            _log.warning("weights refused", version=version, reason=str(error))


def _check(questions: Questions) -> None:
    count = len(questions.history)
    shapes = [array.shape for array in questions]
    wide = (count, CANDIDATES_COUNT)
    if shapes != [(count, HISTORY_COUNT), wide, wide, (count,), (count,)] or count > QUESTIONS_MAX:
        raise ValueError(f"questions of shapes {shapes}; see prediction.questions, at most {QUESTIONS_MAX} at once")


def build_app(cluster_name: str) -> serve.Application:
    """Return the predictor's Serve application; the cluster's trainer may start before or after it.

    Deploy it with serve.applications.deploy_predictor; Ray must be initialised.
    """
    from ray import serve

    deployment = serve.deployment(
        name="Predictor", num_replicas=1, max_ongoing_requests=8, ray_actor_options={"num_cpus": 0}
    )
    return deployment(PredictorDeployment).bind(cluster_name)
