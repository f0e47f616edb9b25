"""Trains the network online, block by block: what is learned from was predicted before.

One trainer per cluster or trace; it is not thread-safe. Blocks of 128 questions and more are worth
their time; the request path never waits for any of this.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from daycache_ray.prediction.features import features_of
from daycache_ray.prediction.network import RankingNetwork, tensors_of, weights_from_bytes, weights_to_bytes
from daycache_ray.prediction.questions import UNKNOWN_TRUTH, Questions
from daycache_ray.structures.prediction.key_numbers import TYPE_SHIFT


class OnlineTrainer:
    """A network, and what it takes to train it; equal seeds and lessons give equal weights.

    `rate`: Adam's step, above 0. `type_shift`: the bit of a key at which its type begins.
    """

    def __init__(self, *, seed: int = 0, rate: float = 3e-3, type_shift: int = TYPE_SHIFT) -> None:
        assert rate > 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = RankingNetwork()
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=rate)
        self._type_shift = type_shift
        self._lessons_count = 0
        self._refused_count = 0

    @property
    def lessons_count(self) -> int:
        """Questions learned from so far."""
        return self._lessons_count

    @property
    def refused_count(self) -> int:
        """Blocks whose lesson was not finite and was left out."""
        return self._refused_count

    def predict(self, questions: Questions) -> npt.NDArray[np.float32]:
        """Return probabilities, (n, 33): the candidates in their order, then "none of them"."""
        if len(questions.history) == 0:
            return np.zeros((0, 33), np.float32)
        features = tensors_of(features_of(questions, type_shift=self._type_shift))
        self._network.eval()
        with torch.inference_mode():
            said: npt.NDArray[np.float32] = self._network(features).exp().numpy()
        return said

    def learn(self, questions: Questions) -> float:
        """Learn from questions whose truth is known; others are passed over.

        Returns the mean surprise in nats before the step, 0.0 when there was nothing to learn from.
        """
        known = questions.truth != UNKNOWN_TRUTH
        if not known.any():
            return 0.0
        questions = Questions(*(array[known] for array in questions))
        features = tensors_of(features_of(questions, type_shift=self._type_shift))
        self._network.train()
        self._optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.nll_loss(self._network(features), torch.from_numpy(questions.truth))
        loss.backward()  # type: ignore[no-untyped-call]
        size = nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        surprise = float(loss.detach())
        if not (np.isfinite(surprise) and bool(torch.isfinite(size))):
            self._refused_count += 1
            return surprise
        self._optimizer.step()
        self._lessons_count += len(questions.truth)
        return surprise

    def save(self) -> bytes:
        """Return the weights, without anything that could be executed when they are read."""
        return weights_to_bytes(self._network)

    def load(self, stored: bytes) -> None:
        """Take weights that `save` returned; raises ValueError, and keeps its own, when they do not fit."""
        weights_from_bytes(self._network, stored)
