"""For the tests of those who use DayCache: `memory_cache()`, its async twin, the clock and the faults behind them."""

from daycache_ray.testing.memory_cache import AsyncMemoryCache, MemoryCache, amemory_cache, memory_cache
from daycache_ray.testing.memory_cluster import MemoryCluster

__all__ = ["memory_cache", "amemory_cache", "MemoryCache", "AsyncMemoryCache", "MemoryCluster"]
