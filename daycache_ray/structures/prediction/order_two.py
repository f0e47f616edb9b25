"""The yardstick: a plain order-2 table that falls back to order 1, as every prediction is compared with."""

from __future__ import annotations

from daycache_ray.structures.prediction.successor_tables import SuccessorTable

_MIX = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class OrderTwo:
    """Predicts by how often keys came after the last two; per client streams, shared counts.

    >>> table = OrderTwo(contexts_max=64)
    >>> for key in (1, 2, 3, 1, 2): table.observe(0, key)
    >>> table.predict(0)
    [3]
    """

    def __init__(self, *, contexts_max: int, successors_max: int = 16) -> None:
        self._pairs = SuccessorTable(contexts_max=contexts_max, successors_max=successors_max)
        self._singles = SuccessorTable(contexts_max=contexts_max, successors_max=successors_max)
        self._last: dict[int, tuple[int, int]] = {}

    def observe(self, client: int, key: int) -> None:
        """Learn that `client` asked for `key`."""
        last = self._last.get(client)
        if last is None:
            self._last[client] = (key, key)
            return
        pair, single = last
        self._pairs.learn(pair, key)
        self._singles.learn(single, key)
        self._last[client] = (single * _MIX + key & _MASK, key)

    def predict(self, client: int, count: int = 10) -> list[int]:
        """Return at most `count` keys, the most frequent successor first."""
        last = self._last.get(client)
        if last is None:
            return []
        row = self._pairs.row(last[0]) or self._singles.row(last[1])
        if row is None:
            return []
        places = sorted(range(2, len(row), 2), key=lambda place: row[place + 1], reverse=True)
        return [row[place] for place in places[:count]]
