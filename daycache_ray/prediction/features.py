"""What the network sees of a question: hashed identities, and plain numbers about each candidate.

Arrays in, arrays out; it refuses to know torch. Nothing here is learned, and nothing looks at the truth.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from daycache_ray.prediction.questions import CANDIDATES_COUNT, HISTORY_COUNT, Questions
from daycache_ray.structures.prediction.key_numbers import TYPE_SHIFT

KEYS_COUNT: Final = 1 << 14
TYPES_COUNT: Final = 1 << 9
STEPS_COUNT: Final = 1 << 12
"""Sizes of the hashed vocabularies of keys, types and differences of keys; 0 stands for nothing."""

NUMBERS_COUNT: Final = 12
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)

Ids: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]


class Features(NamedTuple):
    """`n` questions as a network takes them; (n, 16) for the history, (n, 32) for the candidates."""

    history_keys: Ids
    history_types: Ids
    history_steps: Ids
    """The difference to the key before."""
    candidate_keys: Ids
    candidate_types: Ids
    candidate_steps: Ids
    """The difference to the client's last key."""
    numbers: Floats
    """(n, 32, NUMBERS_COUNT)"""
    present: npt.NDArray[np.bool_]
    """(n, 32): whether there is a candidate in this place."""
    said_log: Floats
    """(n, 33): log probabilities of the tables, "none of them" last."""


def features_of(questions: Questions, *, type_shift: int = TYPE_SHIFT) -> Features:
    """Return the features of questions; `type_shift`, 0 .. 63, is the bit at which a key's type begins."""
    assert 0 <= type_shift <= 63
    history, candidates = questions.history, questions.candidates
    count = len(history)
    assert history.shape == (count, HISTORY_COUNT)
    assert candidates.shape == (count, CANDIDATES_COUNT)
    present = np.arange(CANDIDATES_COUNT) < questions.counts[:, None]
    filled = history != 0
    last = history[:, -1:]
    before = np.concatenate([np.zeros((count, 1), np.uint64), history[:, :-1]], axis=1)
    steps = history - before  # modulo 2**64, as differences are hashed and compared only
    steps[before == 0] = 0
    candidate_steps = candidates - last
    shift = np.uint64(type_shift)
    said = np.clip(questions.said, 0.0, 1.0) * present
    rest = np.maximum(1.0 - said.sum(axis=1, keepdims=True), 1e-4)
    said_log = np.log(np.concatenate([np.maximum(said, 1e-6), rest], axis=1))
    return Features(
        history_keys=_hashed(history, KEYS_COUNT) * filled,
        history_types=_hashed((history >> shift) + np.uint64(1), TYPES_COUNT) * filled,
        history_steps=_hashed(steps, STEPS_COUNT) * filled,
        candidate_keys=_hashed(candidates, KEYS_COUNT) * present,
        candidate_types=_hashed((candidates >> shift) + np.uint64(1), TYPES_COUNT) * present,
        candidate_steps=_hashed(candidate_steps, STEPS_COUNT) * present,
        numbers=_numbers(questions, candidate_steps, steps, said, present, shift),
        present=present,
        said_log=said_log.astype(np.float32),
    )


def _hashed(values: npt.NDArray[np.uint64], count: int) -> Ids:
    """Return 1 .. count - 1 for any number: multiplicative hashing, high bits."""
    spread = ((values ^ (values >> np.uint64(29))) * _MIX) >> np.uint64(33)
    return (spread % np.uint64(count - 1)).astype(np.int64) + 1


def _numbers(
    questions: Questions,
    candidate_steps: npt.NDArray[np.uint64],
    steps: npt.NDArray[np.uint64],
    said: Floats,
    present: npt.NDArray[np.bool_],
    shift: np.uint64,
) -> Floats:
    history, candidates = questions.history, questions.candidates
    last = history[:, -1:]
    same = candidates[:, :, None] == history[:, None, :]  # (n, 32, 16)
    back = np.arange(HISTORY_COUNT, 0, -1, dtype=np.float32)
    newest = np.where(same, 1.0 / back, 0.0).max(axis=2)
    # where the client stood here before in this history, did it go on to the candidate?
    came_before = (history[:, :-1] == last) & (history[:, :-1] != 0)
    followed = same[:, :, 1:] & came_before[:, None, :]
    types = history >> shift
    same_type = (types[:, :-1] == types[:, -1:]) & (history[:, :-1] != 0)
    same_step = (candidate_steps[:, :, None] == steps[:, None, 1:]) & same_type[:, None, :]
    size = np.abs(candidate_steps.astype(np.int64)).astype(np.float64)
    order = np.argsort(np.argsort(-said, axis=1, kind="stable"), axis=1)
    columns = (
        said,
        np.log(np.maximum(said, 1e-6)) / 7.0,
        1.0 / (1.0 + order),
        said >= said.max(axis=1, keepdims=True),
        newest,
        same.sum(axis=2) / 4.0,
        followed.any(axis=2),
        np.where(came_before.any(axis=1, keepdims=True), 1.0, 0.0) - followed.any(axis=2),
        same_step.any(axis=2),
        candidate_steps == steps[:, -1:],
        np.log1p(size) / 44.0,
        (candidates >> shift) == (last >> shift),
    )
    assert len(columns) == NUMBERS_COUNT
    stacked = np.stack([np.asarray(column, np.float32) for column in columns], axis=2)
    return stacked * present[:, :, None].astype(np.float32)
