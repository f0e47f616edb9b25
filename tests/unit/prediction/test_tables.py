"""Successor tables, field transfer and recency: what they remember and how much they may hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daycache_ray.structures.prediction.field_transfer import FieldTransfer
from daycache_ray.structures.prediction.order_two import OrderTwo
from daycache_ray.structures.prediction.recency import Recency
from daycache_ray.structures.prediction.successor_tables import TOTAL_MAX, SuccessorTable

KEYS = st.integers(min_value=0, max_value=2**64 - 1)


@given(st.lists(st.tuples(KEYS, KEYS), max_size=300), st.integers(2, 20), st.integers(1, 4))
def test_table_stays_within_its_bounds(pairs: list[tuple[int, int]], contexts_max: int, successors_max: int) -> None:
    table = SuccessorTable(contexts_max=contexts_max, successors_max=successors_max)
    for context, successor in pairs:
        table.learn(context, successor)
        assert len(table) <= contexts_max
        row = table.row(context)
        assert row is not None
        assert len(row) <= 2 + 2 * successors_max
        assert row[1] == successor
        assert successor in row[2::2]
        assert sum(row[3::2]) <= row[0] <= TOTAL_MAX


def test_fading_lets_a_new_habit_take_over() -> None:
    table = SuccessorTable(contexts_max=4)
    for _ in range(1000):
        table.learn(1, 10)
    for _ in range(80):
        table.learn(1, 20)
    row = table.row(1)
    assert row is not None
    assert row[2] == 20


def test_what_is_asked_for_survives_what_is_not() -> None:
    table = SuccessorTable(contexts_max=10)
    for context in range(200):
        table.learn(context, 1)
        table.learn(1000, 2)
    assert table.row(1000) is not None
    assert table.row(0) is None


def test_transfer_gives_the_newest_difference_and_how_often_it_held() -> None:
    transfer = FieldTransfer(pairs_max=8)
    for _ in range(50):
        transfer.learn(1, 2, 931)
    known = transfer.difference(1, 2)
    assert known is not None
    assert known[0] == 931
    assert known[1] > 0.95
    transfer.learn(1, 2, 932)
    known = transfer.difference(1, 2)
    assert known is not None
    assert known[0] == 932
    assert transfer.difference(2, 1) is None


@given(st.lists(KEYS, max_size=200))
def test_transfer_and_recency_stay_within_their_bounds(keys: list[int]) -> None:
    transfer, recency = FieldTransfer(pairs_max=6), Recency(keys_max=6)
    for key in keys:
        transfer.learn(key, key ^ 1, key)
        recency.learn(key)
        assert len(transfer) <= 6
        assert len(recency) <= 6
        assert 0 < recency.bucket(key) < 128


def test_recency_tells_old_from_new_and_rare_from_frequent() -> None:
    recency = Recency(keys_max=64)
    for _ in range(9):
        recency.learn(1)
    recency.learn(2)
    assert recency.bucket(3) == 0
    assert recency.bucket(1) % 8 > recency.bucket(2) % 8
    assert recency.bucket(1) // 8 > recency.bucket(2) // 8


def test_order_two_falls_back_to_order_one() -> None:
    table = OrderTwo(contexts_max=64)
    for key in (1, 2, 3, 9, 2):
        table.observe(0, key)
    assert table.predict(0) == [3]
    assert table.predict(7) == []
