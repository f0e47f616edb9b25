"""Does the network add anything? On a sample of the accesses, block by block, beside the tables.

Runs of accesses are taken whole, one in four, so that it costs a quarter. Every block is predicted
before anything is learned from it. What is printed compares the tables, the network and their mixture
on the same questions of the second half.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from daycache_ray.prediction.mixture import Mixture
from daycache_ray.prediction.questions import HISTORY_COUNT, questions_of
from daycache_ray.prediction.training import OnlineTrainer
from daycache_ray.structures.prediction.predictor import Ranking

BLOCK_COUNT = 256
RUN_COUNT = 64
"""Accesses in a row that are sampled."""
ONE_IN = 4

Stream = tuple[int, int]


@dataclass
class _Score:
    """Sums of surprise and of hits over the questions that count."""

    surprise: float = 0.0
    hits: int = 0

    def count(self, said: np.ndarray, truth: np.ndarray) -> None:
        rows = np.arange(len(truth))
        self.surprise += float(-np.log(np.maximum(said[rows, truth], 1e-6)).sum())
        self.hits += int(((said[:, :-1].argmax(axis=1) == truth) & (truth < said.shape[1] - 1)).sum())


@dataclass
class _Asked:
    history: tuple[int, ...]
    ranking: Ranking
    counts: bool


class NetworkTrial:
    """Collects questions as the trace goes by, and runs the network over each full block."""

    def __init__(self, *, seed: int, type_shift: int) -> None:
        torch.set_num_threads(1)  # so that its time is that of one core, as the tables' is
        self._trainer = OnlineTrainer(seed=seed, type_shift=type_shift)
        self._mixture = Mixture(2)
        self._histories: dict[Stream, deque[int]] = {}
        self._asked: dict[Stream, _Asked] = {}
        self._block: list[tuple[_Asked, int]] = []
        self._scores = {name: _Score() for name in ("tables", "network", "mixture")}
        self._counted = 0
        self._seen = 0
        self._cpu_ns = 0

    def wants(self, at: int) -> bool:
        """Whether the access at place `at` of the trace is in the sample."""
        return at // RUN_COUNT % ONE_IN == 0

    def came(self, stream: Stream, key: int) -> None:
        """Note that `stream` asked for `key`, which answers what was asked about it."""
        asked = self._asked.pop(stream, None)
        if asked is not None:
            self._block.append((asked, key))
            if len(self._block) >= BLOCK_COUNT:
                begun_ns = time.process_time_ns()
                self._run()
                self._cpu_ns += time.process_time_ns() - begun_ns
        history = self._histories.get(stream)
        if history is None:
            history = self._histories[stream] = deque(maxlen=HISTORY_COUNT)
        history.append(key)

    def ask(self, stream: Stream, ranking: Ranking, *, counts: bool) -> None:
        """Put the question of `stream`'s next key; `counts` says whether it belongs to the figures."""
        self._asked[stream] = _Asked(tuple(self._histories[stream]), ranking, counts)

    def figures(self) -> dict[str, Any]:
        """Return the comparison, for JSON."""
        whole = max(self._counted, 1)
        figures: dict[str, Any] = {"network_questions": self._counted, "network_sample": f"1 in {ONE_IN}"}
        for name, score in self._scores.items():
            figures[f"nll_{name}"] = round(score.surprise / whole, 4)
            figures[f"top1_{name}"] = round(score.hits / whole, 4)
        gain = self._scores["mixture"].hits - self._scores["tables"].hits
        figures["network_gain_top1"] = round(gain / whole, 4)
        figures["network_gain_nll"] = round(figures["nll_tables"] - figures["nll_mixture"], 4)
        figures["network_cpu_us_per_question"] = round(self._cpu_ns / 1e3 / max(self._seen, 1), 1)
        return figures

    def _run(self) -> None:
        block, self._block = self._block, []
        questions = questions_of(
            [asked.history for asked, _ in block],
            [list(asked.ranking.found) for asked, _ in block],
            [asked.ranking.probabilities for asked, _ in block],
            [key for _, key in block],
        )
        rest = np.maximum(1.0 - questions.said.sum(axis=1, keepdims=True), 0.0)
        tables = np.concatenate([questions.said, rest], axis=1)
        network = self._trainer.predict(questions)
        mixed = self._mixture.blend([tables, network])
        counted = np.array([asked.counts for asked, _ in block])
        for name, said in (("tables", tables), ("network", network), ("mixture", mixed)):
            self._scores[name].count(said[counted], questions.truth[counted])
        self._counted += int(counted.sum())
        self._seen += len(block)
        self._mixture.learn([tables, network], questions.truth)
        self._trainer.learn(questions)
