"""SIEVE: a queue with a hand that spares what was visited since it last came by.

Source: Zhang, Yang, Yue, Vigfusson, Rashmi: SIEVE is Simpler than LRU (NSDI 2024).
"""

from __future__ import annotations


class _Node:
    __slots__ = ("key", "newer", "older", "visited")

    def __init__(self, key: int) -> None:
        self.key = key
        self.visited = False
        self.newer: _Node | None = None
        self.older: _Node | None = None


class Sieve:
    """Says which key goes; the caller keeps the capacity.

    >>> cache = Sieve()
    >>> for key in (1, 2, 3): cache.insert(key, cost_us=1)
    >>> cache.touch(1); cache.evict()
    2
    """

    def __init__(self) -> None:
        self._nodes: dict[int, _Node] = {}
        self._newest: _Node | None = None
        self._oldest: _Node | None = None
        self._hand: _Node | None = None

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: int) -> bool:
        return key in self._nodes

    def touch(self, key: int) -> None:
        """Count a hit of a key that is held."""
        self._nodes[key].visited = True

    def insert(self, key: int, cost_us: int) -> None:
        """Hold a key that was not held; `cost_us` does not matter here."""
        assert key not in self._nodes
        assert cost_us >= 0
        node = self._nodes[key] = _Node(key)
        node.older = self._newest
        if self._newest is not None:
            self._newest.newer = node
        self._newest = node
        if self._oldest is None:
            self._oldest = node

    def evict(self) -> int:
        """Give up the first key at the hand that was not visited and return it; there must be one."""
        node = self._hand or self._oldest
        assert node is not None, "evict from an empty cache"
        while node.visited:
            node.visited = False
            node = node.newer or self._oldest
            assert node is not None
        self._hand = node.newer
        if node.newer is not None:
            node.newer.older = node.older
        else:
            self._newest = node.older
        if node.older is not None:
            node.older.newer = node.newer
        else:
            self._oldest = node.newer
        del self._nodes[node.key]
        return node.key
