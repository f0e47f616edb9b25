"""A cluster in memory and a client of its HTTP door, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from daycache_ray.serve.http_api import create_api
from tests.unit.serve.fake_cache import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


current = [FakeCluster()]
"""The cluster behind the application, which is made once: making it takes a tenth of a second."""
api = create_api(lambda service: current[0].cache(service), lambda: current[0].cluster_map())


@pytest.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[httpx.AsyncClient]:
    current[0] = cluster
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://daycache") as client:
        yield client
