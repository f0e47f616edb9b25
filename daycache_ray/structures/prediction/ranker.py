"""Ranks nominated keys: an online softmax regression over one-hot evidence with "none of them" as a class.

Adagrad (Duchi, Hazan, Singer 2011) gives each weight a step of its own. Knows evidence as numbers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, sqrt
from typing import Final

_SURE: Final = 0.004
"""A class that is off by less than this is not corrected: most are, and correcting costs time."""


class SoftmaxRanker:
    """Weights over evidence numbers 0 .. len(first) - 1.

    >>> ranker = SoftmaxRanker([0.0, 0.0, 0.0], rate=0.5)
    >>> for _ in range(50): ranker.learn(ranker.rank([[0], [1]], [2]), [[0], [1]], [2], truth=1)
    >>> [round(p) for p in ranker.rank([[0], [1]], [2])]
    [0, 1]
    """

    def __init__(self, first: Sequence[float], *, rate: float = 0.12) -> None:
        assert rate > 0
        self._weights = list(first)
        self._squares = [0.05] * len(self._weights)
        self._rate = rate

    def rank(self, evidence: Iterable[list[int]], none: list[int]) -> list[float]:
        """Return a probability for each candidate, in their order; what is missing to 1 is "none of them"."""
        weight = self._weights.__getitem__
        scores = [sum(map(weight, numbers)) for numbers in evidence]
        nothing = sum(map(weight, none))
        highest = max(scores, default=nothing)
        if highest < nothing:
            highest = nothing
        parts = [exp(score - highest) for score in scores]
        whole = sum(parts) + exp(nothing - highest)
        return [part / whole for part in parts]

    def learn(self, ranked: Sequence[float], evidence: Iterable[list[int]], none: list[int], truth: int) -> None:
        """Correct the weights; `truth` is the place of the candidate that came, -1 for none of them."""
        for place, numbers in enumerate(evidence):
            error = ranked[place] - (place == truth)
            if error > _SURE or error < -_SURE:
                self._correct(numbers, error)
        error = 1.0 - sum(ranked) - (truth < 0)
        if error > _SURE or error < -_SURE:
            self._correct(none, error)

    def _correct(self, numbers: list[int], error: float) -> None:
        weights, squares = self._weights, self._squares
        square, step = error * error, self._rate * error
        for number in numbers:
            squares[number] += square
            weights[number] -= step / sqrt(squares[number])
