"""What a network is asked and taught, as arrays: they cross process borders without being pickled objects.

A question is one place in one client's stream of accesses: the keys before it, the candidates for the
next key that the tables nominated, and the probability that the tables give each. Refuses to know torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

HISTORY_COUNT: Final = 16
CANDIDATES_COUNT: Final = 32
NONE_PLACE: Final = CANDIDATES_COUNT
"""The place of "none of them", which is a class like the candidates."""

UNKNOWN_TRUTH: Final = -1


class Questions(NamedTuple):
    """`n` questions. Keys are 64-bit numbers (see structures.prediction.key_numbers); 0 pads in front of
    short histories and behind the last candidate, where `said` is 0.0 as well.
    """

    history: npt.NDArray[np.uint64]
    """(n, 16): the client's last keys, latest last."""
    candidates: npt.NDArray[np.uint64]
    """(n, 32)"""
    said: npt.NDArray[np.float32]
    """(n, 32): the tables' probabilities; what is missing to 1 is "none of them"."""
    counts: npt.NDArray[np.int64]
    """(n,): how many candidates there are."""
    truth: npt.NDArray[np.int64]
    """(n,): the place of the key that came, NONE_PLACE, or UNKNOWN_TRUTH in a question to be answered."""


def questions_of(
    histories: Sequence[Sequence[int]],
    candidates: Sequence[Sequence[int]],
    said: Sequence[Sequence[float]],
    truths: Sequence[int | None],
) -> Questions:
    """Return questions as arrays; the four sequences are equally long, `truths` holds keys or None."""
    count = len(histories)
    assert len(candidates) == len(said) == len(truths) == count
    arrays = Questions(
        np.zeros((count, HISTORY_COUNT), np.uint64),
        np.zeros((count, CANDIDATES_COUNT), np.uint64),
        np.zeros((count, CANDIDATES_COUNT), np.float32),
        np.zeros(count, np.int64),
        np.full(count, UNKNOWN_TRUTH, np.int64),
    )
    for row, (history, names, probabilities, truth) in enumerate(zip(histories, candidates, said, truths, strict=True)):
        recent = history[-HISTORY_COUNT:]
        names = names[:CANDIDATES_COUNT]
        if recent:
            arrays.history[row, -len(recent) :] = recent
        arrays.candidates[row, : len(names)] = names
        arrays.said[row, : len(names)] = probabilities[: len(names)]
        arrays.counts[row] = len(names)
        if truth is not None:
            arrays.truth[row] = names.index(truth) if truth in names else NONE_PLACE
    return arrays
