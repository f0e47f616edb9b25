"""One suite, four ways to run it: a cache in memory and a real cluster, each by its plain and its asyncio face.

What runs on a cluster is marked so; `-m "not cluster"` leaves the part without Ray.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import daycache_ray
from daycache_ray import ClusterConfig, PredictionConfig, RegionConfig, ServiceConfig
from daycache_ray.testing import amemory_cache, memory_cache

CONFIG = ClusterConfig(
    name="conformance",
    regions=(
        RegionConfig(name="strong", level="strong", memory_bytes=32 << 20),
        RegionConfig(name="eventual", shards=2, replicas=1, memory_bytes=64 << 20, negative_ttl_s=30.0),
        RegionConfig(name="weak", level="weak", replicas=1, memory_bytes=16 << 20, allow_pickle=True, ttl_s=3600),
    ),
    services=(ServiceConfig(name="default"), ServiceConfig(name="other")),
    prediction=PredictionConfig(enabled=False),
    spare_actors=0,
)
LEVELS = ("strong", "eventual", "weak")


class Blocking:
    """An asyncio face as if it were the plain one: each call runs its loop until it is answered."""

    def __init__(self, face: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._face = face
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._face, name)
        if inspect.iscoroutinefunction(found):
            return lambda *args, **options: self._wrapped(self._loop.run_until_complete(found(*args, **options)))
        if name == "scan":
            return lambda *args, **options: self._drained(found(*args, **options))
        if name == "region":
            return lambda *args: self._wrapped(found(*args))
        return found

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the face itself: a cached function."""
        return self._loop.run_until_complete(self._face(*args, **options))

    def _wrapped(self, answer: Any) -> Any:
        is_face = isinstance(answer, (daycache_ray.AsyncCache, daycache_ray.AsyncRegion))
        return Blocking(answer, self._loop) if is_face else answer

    def _drained(self, keys: Any) -> Iterator[Any]:
        async def all_of_them() -> list[Any]:
            return [key async for key in keys]

        return iter(self._loop.run_until_complete(all_of_them()))

    def viewed(self, key: Any, **options: Any) -> Any:
        """Return what `view` gives inside its block."""

        async def inside() -> Any:
            async with self._face.view(key, **options) as value:
                return value

        return self._loop.run_until_complete(inside())


class Stage:
    """A cache, and the passing of time as its kind has it."""

    def __init__(self, kind: str, cache: Any) -> None:
        self.kind = kind
        self.cache = cache

    def region(self, name: str) -> Any:
        """Return a region."""
        return self.cache.region(name)

    def pass_time(self, seconds: float, until: Callable[[], bool]) -> None:
        """Let time pass until a condition holds; on a cluster at most ten seconds more."""
        if self.kind.startswith("memory"):
            self.cache.advance(seconds)
            assert until(), f"after {seconds} virtual seconds"
            return
        end_s = time.monotonic() + seconds + 10.0
        while not until():
            assert time.monotonic() < end_s, f"after {seconds} seconds, and ten"
            threading.Event().wait(0.01)

    def view(self, region: Any, key: Any) -> Any:
        """Return what a view shows."""
        if isinstance(region, Blocking):
            return region.viewed(key)
        with region.view(key) as value:
            return value


@pytest.fixture(scope="session")
def cluster(embedded_ray: str) -> Iterator[str]:
    """A real cluster; gives its name."""
    with daycache_ray.start(CONFIG):
        yield CONFIG.name


@pytest.fixture(
    scope="module",
    params=[
        "memory",
        "memory-async",
        pytest.param("cluster", marks=pytest.mark.cluster),
        pytest.param("cluster-async", marks=pytest.mark.cluster),
    ],
)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A cache to put questions to."""
    kind: str = request.param
    loop = asyncio.new_event_loop()
    name = request.getfixturevalue("cluster") if kind.startswith("cluster") else ""
    try:
        cache: Any
        if kind == "memory":
            cache = memory_cache(CONFIG)
        elif kind == "memory-async":
            cache = Blocking(amemory_cache(CONFIG), loop)
        elif kind == "cluster":
            cache = daycache_ray.connect(name)
        else:
            cache = Blocking(loop.run_until_complete(daycache_ray.aconnect(name)), loop)
        yield Stage(kind, cache)
        cache.close()
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture(params=LEVELS)
def region(request: pytest.FixtureRequest, stage: Stage) -> Any:
    """Each region in turn, empty; each has another level."""
    found = stage.region(request.param)
    found.flush()
    found.clear()
    return found


@pytest.fixture
def eventual(stage: Stage) -> Any:
    """The region of level EVENTUAL, empty; it remembers for 30 seconds what its origin lacks."""
    found = stage.region("eventual")
    found.clear()
    return found
