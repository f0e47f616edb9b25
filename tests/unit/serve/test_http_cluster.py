"""The other routes, problems for every error of the tree, and the pool of caches."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from daycache_ray.serve.http_api import create_api
from daycache_ray.serve.http_caches import CachePool
from daycache_ray.serve.http_problems import STATUS_OF, Problem, problem_fields, problem_response, slug_of
from daycache_ray.words import errors
from daycache_ray.words.config import ClusterConfig, RegionConfig, ServiceConfig
from daycache_ray.words.types import Version
from tests.unit.serve.fake_cache import FakeCluster

ORDER = "/v1/regions/orders/entries/k"


async def test_statistics(client: httpx.AsyncClient) -> None:
    await client.put(ORDER, content=b"1")
    answer = (await client.get("/v1/statistics")).json()
    assert answer["service"] == "default"
    assert answer["regions"]["orders"]["entries_count"] == 1
    assert answer["regions"]["orders"]["hit_ratio"] == 0.75
    assert answer["regions"]["short"]["entries_count"] == 0


async def test_the_cluster_without_its_secrets(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    answer = await client.get("/v1/cluster")
    shown = answer.json()
    assert (shown["name"], shown["version"]) == ("shop", 3)
    assert [region["name"] for region in shown["regions"]] == ["orders", "short", "trusted"]
    assert shown["shards"][0]["members"][0]["actor_name"] == "shop:replica:0"
    for secret in (cluster.cluster_map().token, "/dev/shm"):
        assert secret not in answer.text


async def test_health_and_readiness(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ready", "cluster": "shop", "shards_count": 3}
    cluster.primary_seat = -1
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"].endswith(":shard-unavailable")
    assert (await client.get("/healthz")).status_code == 200


async def test_readiness_where_services_are_listed() -> None:
    """A probe is no service: it need not be listed."""
    config = ClusterConfig(name="shop", regions=[RegionConfig(name="orders")], services=[ServiceConfig(name="desk")])
    cluster = FakeCluster(config)
    transport = httpx.ASGITransport(create_api(cluster.cache, cluster.cluster_map))
    async with httpx.AsyncClient(transport=transport, base_url="http://daycache") as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200
        refused = await client.get(ORDER)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:daycache:problem:unknown-service")
        assert (await client.put(ORDER + "?service=desk", content=b"")).status_code == 204


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    for path in ("/", "/v1", "/v1/regions/orders", "/docs", "/v1/regions/orders/entries"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:daycache:problem:not-found")
    answer = await client.post(ORDER)
    assert (answer.status_code, answer.json()["type"]) == (405, "urn:daycache:problem:method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PUT"


@pytest.mark.parametrize("cls", errors.all_error_types(), ids=lambda cls: cls.__name__)
async def test_every_error_is_a_problem(
    client: httpx.AsyncClient, cluster: FakeCluster, cls: type[errors.CacheError]
) -> None:
    cluster.failure = cls("it went wrong; do this")
    answer = await client.delete(ORDER)
    assert answer.headers["content-type"] == "application/problem+json"
    fields = answer.json()
    assert fields["status"] == answer.status_code
    assert fields["detail"] == "it went wrong; do this"
    assert fields["type"] == f"urn:daycache:problem:{slug_of(cls)}"
    assert 400 <= answer.status_code < 600
    assert ("retry-after" in answer.headers) == (answer.status_code == 503)
    if issubclass(cls, errors.UsageError) and not issubclass(
        cls, errors.ConfigError | errors.CacheClosedError | errors.ClusterNotFoundError | errors.ProtocolError
    ):
        assert answer.status_code < 500
    else:
        assert answer.status_code >= 500


def test_types_are_stable_and_distinct() -> None:
    slugs = [slug_of(cls) for cls in errors.all_error_types()]
    assert len(set(slugs)) == len(slugs)
    assert {slug_of(errors.InvalidTtlError), slug_of(errors.UnknownRegionError)} == {"invalid-ttl", "unknown-region"}
    assert set(STATUS_OF) <= set(errors.all_error_types())


def test_fields_are_shown() -> None:
    conflict = problem_fields(errors.VersionConflictError("another", current=Version(2, 7)))
    assert (conflict["status"], conflict["current"]) == (412, "2-7")
    assert problem_fields(errors.VersionConflictError("none", current=None))["current"] is None
    busy = problem_response(errors.BackpressureError("busy", retry_after_s=2.5))
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "3")
    assert json.loads(bytes(busy.body))["retry_after_s"] == 2.5
    assert "secret" not in str(problem_fields(ValueError("secret")))
    assert problem_fields(Problem("key-not-found", "x"))["status"] == 404


async def test_an_error_nobody_foresaw(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    cluster.failure = ZeroDivisionError("inside")
    answer = await client.get(ORDER)
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:daycache:problem:internal")
    assert "inside" not in answer.text


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_the_pool_opens_once_and_makes_room() -> None:
    cluster, clock, opened = FakeCluster(), Clock(), []

    async def connect(service: str) -> Any:
        await asyncio.sleep(0)
        opened.append(service)
        return await cluster.connect(service)

    pool = CachePool(connect, services_max=2, idle_s=10, now_s=clock)
    first = await asyncio.gather(*(pool.get("a") for _ in range(5)))
    assert len({id(cache) for cache in first}) == 1
    clock.now_s = 5
    second = await pool.get("b")
    clock.now_s = 9
    with pytest.raises(errors.BackpressureError) as caught:
        await pool.get("c")
    assert caught.value.retry_after_s == 1
    clock.now_s = 10
    await pool.get("c")
    assert (first[0].is_closed, second.is_closed) == (True, False)
    assert opened == ["a", "b", "c"]
    await pool.close()
    assert second.is_closed


async def test_a_service_that_cannot_be_opened_takes_no_place() -> None:
    cluster = FakeCluster(ClusterConfig(regions=[RegionConfig(name="orders")], services=[ServiceConfig(name="desk")]))
    pool = CachePool(cluster.connect, services_max=1)
    for _ in range(3):
        with pytest.raises(errors.UnknownServiceError):
            await pool.get("nobody")
    assert await pool.get("desk")
