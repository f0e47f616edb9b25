"""An origin for tests of writers: a dict that counts its calls, and a cache in memory before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daycache_ray import MISSING, ClusterConfig, RegionConfig
from daycache_ray.testing.memory_cache import MemoryCache, memory_cache


class Table:
    """An origin: a dict, the calls that it got, and what it refuses."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.calls: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.poisoned: set[str] = set()

    def write_many(self, values: Mapping[str, Any]) -> None:
        self.calls.append(dict(values))
        if self.error is not None:
            raise self.error
        if self.poisoned & set(values):
            raise ValueError("poisoned")
        for key, value in values.items():
            if value is MISSING:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def load(self, key: str) -> Any:
        return self.rows.get(key, MISSING)


def a_cache(table: Any, *, copies: int = 1, **fields: Any) -> MemoryCache:
    region = RegionConfig(name="orders", writer=table, loader=table, **fields)
    return memory_cache(ClusterConfig(name="memory", regions=(region,)), copies=copies)
