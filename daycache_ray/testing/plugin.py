"""The pytest plugin: fixtures that give each test a cache in memory. Imports nothing heavy until one is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from daycache_ray.testing import AsyncMemoryCache, MemoryCache
    from daycache_ray.words.config import ClusterConfig


@pytest.fixture
def daycache_config() -> ClusterConfig | None:
    """The cluster of the other fixtures: define it anew to have other regions; None: the built-in ones."""
    return None


@pytest.fixture
def daycache(daycache_config: ClusterConfig | None) -> Iterator[MemoryCache]:
    """A cache in memory, fresh for each test; see daycache_ray.testing.memory_cache."""
    from daycache_ray.testing import memory_cache

    with memory_cache(daycache_config) as cache:
        yield cache


@pytest.fixture
def async_daycache(daycache_config: ClusterConfig | None) -> AsyncMemoryCache:
    """The same with await; needs no plugin for asyncio itself."""
    from daycache_ray.testing import amemory_cache

    return amemory_cache(daycache_config)
