"""The successor table beside a plain count of everything, while neither has to forget."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from daycache_ray.structures.prediction.lru import Lru
from daycache_ray.structures.prediction.sieve import Sieve
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


@given(st.lists(SMALL, max_size=100), st.integers(1, 4))
def test_lru_is_a_list_in_order_of_use(keys: list[int], capacity: int) -> None:
    cache, model = Lru(), []
    for key in keys:
        if key in model:
            cache.touch(key)
            model.remove(key)
        else:
            if len(model) == capacity:
                assert cache.evict() == model.pop(0)
            cache.insert(key, cost_us=1)
        model.append(key)
        assert len(cache) == len(model)
        assert all(known in cache for known in model)


@given(st.lists(SMALL, max_size=100), st.integers(1, 4))
def test_sieve_is_a_queue_with_a_hand(keys: list[int], capacity: int) -> None:
    cache = Sieve()
    queue: list[list[int]] = []  # oldest first: [key, visited]
    hand = 0
    for key in keys:
        known = next((entry for entry in queue if entry[0] == key), None)
        if known is not None:
            cache.touch(key)
            known[1] = 1
            continue
        if len(queue) == capacity:
            if hand >= len(queue):
                hand = 0
            while queue[hand][1]:
                queue[hand][1] = 0
                hand = (hand + 1) % len(queue)
            assert cache.evict() == queue.pop(hand)[0]
        cache.insert(key, cost_us=1)
        # a hand that had passed the newest entry starts over at the oldest
        at_end = hand >= len(queue)
        queue.append([key, 0])
        if at_end:
            hand = 0
        assert {entry[0] for entry in queue} == {known for known in range(6) if known in cache}
