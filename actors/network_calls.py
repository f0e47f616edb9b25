"""How the prefetcher reaches the network: a Serve handle to ask, an actor handle to teach.

Both are looked up anew after a failure. Ray Serve is imported only here, and only when a network is
configured. Nothing is decided here: network_link takes what this raises as the network's failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray

from daycache_ray.actors.network_link import Question
from daycache_ray.prediction.questions import CANDIDATES_COUNT, Questions, questions_of
from daycache_ray.words.naming import NAMESPACE, predictor_application_name, trainer_name


class NetworkCalls:
    """Calls of one prefetcher; use from its event loop."""

    def __init__(self, cluster_name: str) -> None:
        self._cluster_name = cluster_name
        self._predictor: Any = None
        self._trainer: Any = None

    async def ask(self, batch: list[Question]) -> list[list[float]]:
        """Return the network's probabilities of each question's candidates; raises what Serve raises."""
        try:
            if self._predictor is None:
                from ray import serve

                # It asks the controller and waits; the loop must not.
                name = predictor_application_name(self._cluster_name)
                self._predictor = await asyncio.to_thread(serve.get_app_handle, name)
            answer = await self._predictor.score.remote(arrays_of(batch))
        except Exception:
            self._predictor = None
            raise
        if not isinstance(answer, np.ndarray) or answer.shape != (len(batch), CANDIDATES_COUNT + 1):
            raise ValueError(f"the network answered {type(answer).__name__} {getattr(answer, 'shape', '')}")
        probabilities: list[list[float]] = answer.tolist()
        return probabilities

    async def ship(self, batch: list[Question]) -> None:
        """Give questions whose truth is known to the trainer; raises what Ray raises."""
        try:
            if self._trainer is None:
                self._trainer = ray.get_actor(trainer_name(self._cluster_name), namespace=NAMESPACE)
            await self._trainer.learn.remote(arrays_of(batch))
        except Exception:
            self._trainer = None
            raise


def arrays_of(batch: Sequence[Question]) -> Questions:
    """Return questions as arrays."""
    return questions_of(
        [question.history for question in batch],
        [list(question.ranking.found) for question in batch],
        [question.ranking.probabilities for question in batch],
        [question.truth for question in batch],
    )
