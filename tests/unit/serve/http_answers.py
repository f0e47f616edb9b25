"""What tests of the HTTP door ask of an answer, and how they put a value there behind its back."""

from __future__ import annotations

from typing import Any

import httpx

from daycache_ray.client.arguments import REGION_TTL
from daycache_ray.words.types import Version
from tests.unit.serve.fake_cache import FakeCluster


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    fields = response.json()
    assert fields["type"] == f"urn:daycache:problem:{slug}"
    assert fields["status"] == status
    assert fields["title"]
    assert fields["detail"]
    return fields  # type: ignore[no-any-return]


async def store(cluster: FakeCluster, key: str, value: Any, region: str = "orders") -> Version:
    return await cluster.cache("default").region(region).set(key, value, ttl_s=REGION_TTL)
