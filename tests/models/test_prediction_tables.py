"""The successor table beside a plain count of everything, while neither has to forget."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from daycache_ray.structures.prediction.successor_tables import TOTAL_MAX, SuccessorTable

SMALL = st.integers(min_value=0, max_value=5)


@given(st.lists(st.tuples(SMALL, SMALL), max_size=TOTAL_MAX))
def test_counts_are_those_of_a_plain_counter(pairs: list[tuple[int, int]]) -> None:
    table = SuccessorTable(contexts_max=64, successors_max=8)
    model: dict[int, Counter[int]] = defaultdict(Counter)
    newest: dict[int, int] = {}
    for context, successor in pairs:
        table.learn(context, successor)
        model[context][successor] += 1
        newest[context] = successor
    for context, counts in model.items():
        row = table.row(context)
        assert row is not None
        assert dict(zip(row[2::2], row[3::2], strict=True)) == counts
        assert row[0] == counts.total()
        assert row[1] == newest[context]
    assert len(table) == len(model)
