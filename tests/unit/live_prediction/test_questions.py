"""Questions as arrays: padding, truths, shapes."""

import numpy as np

from daycache_ray.prediction.questions import (
    CANDIDATES_COUNT,
    HISTORY_COUNT,
    NONE_PLACE,
    UNKNOWN_TRUTH,
    questions_of,
)


def test_histories_end_and_candidates_begin_their_rows():
    asked = questions_of([(1, 2), tuple(range(1, 40))], [[7, 8], []], [[0.5, 0.25], []], [8, None])
    assert asked.history.shape == (2, HISTORY_COUNT)
    assert asked.history[0].tolist() == [0] * (HISTORY_COUNT - 2) + [1, 2]
    assert asked.history[1].tolist() == list(range(40 - HISTORY_COUNT, 40))
    assert asked.candidates.shape == asked.said.shape == (2, CANDIDATES_COUNT)
    assert asked.candidates[0, :3].tolist() == [7, 8, 0]
    assert asked.said[0, :3].tolist() == [0.5, 0.25, 0.0]
    assert asked.counts.tolist() == [2, 0]
    assert asked.truth.tolist() == [1, UNKNOWN_TRUTH]


def test_a_truth_that_nobody_nominated_is_none_of_them():
    assert questions_of([(1,)], [[7]], [[0.5]], [9]).truth.tolist() == [NONE_PLACE]


def test_the_largest_key_fits():
    asked = questions_of([(2**64 - 1,)], [[2**64 - 1]], [[1.0]], [2**64 - 1])
    assert asked.candidates.dtype == np.uint64
    assert int(asked.candidates[0, 0]) == 2**64 - 1


def test_no_questions_are_arrays_too():
    assert questions_of([], [], [], []).history.shape == (0, HISTORY_COUNT)
