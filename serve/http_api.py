"""The HTTP door: a FastAPI application on Ray Serve, a client like any other on the node where it runs.

It refuses to unpickle anything, and to decide anything: every route is one call of the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
from collections.abc import AsyncIterator, Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

import msgspec
from fastapi import Depends, FastAPI, Response

from daycache_ray.codecs.registry import forbid_pickle
from daycache_ray.serve import http_documents as documents
from daycache_ray.serve import http_problems
from daycache_ray.serve.http_caches import CachePool
from daycache_ray.serve.http_entries import add_entry_routes
from daycache_ray.serve.http_requests import CacheOfService, Call, call_of
from daycache_ray.words.cluster_map import ClusterMap
from daycache_ray.words.errors import ShardUnavailableError

if TYPE_CHECKING:
    from ray import serve

_SHOWN_OF_REGION: Final = ("level", "shards", "replicas", "memory_bytes", "ttl_s", "allow_pickle", "prefetch")


def create_api(get_cache: Callable[[str], Any], get_map: Callable[[], Any], *, lifespan: Any = None) -> FastAPI:
    """Return the application on top of any cache.

    Args:
        get_cache: gives the AsyncCache, or one like it, that asks under a service's name; may be async.
        get_map: gives the newest ClusterMap, for probes, which are no service; may be async.
        lifespan: an async context manager of the application, for what has to be closed with it.

    The caller is responsible for `codecs.registry.forbid_pickle`, which holds for a whole process.
    """
    api = FastAPI(
        title="DayCache",
        summary="Read and write entries of a DayCache cluster.",
        version=_version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # A key may end in a slash, or begin with one.
        lifespan=lifespan,
    )

    async def cache_of(service: str) -> Any:
        return await _awaited(get_cache(service))

    http_problems.install(api)
    add_entry_routes(api, cache_of)
    _add_cluster_routes(api, cache_of, get_map)
    described = api.openapi
    api.openapi = lambda: documents.without_validation_errors(described())  # type: ignore[method-assign]
    return api


def build_app(cluster_name: str) -> serve.Application:
    """Return the Serve application of a running cluster's door; its routes lie below its route prefix."""
    from ray import serve  # Late: the routes themselves need no Ray.

    def build() -> FastAPI:
        return _connected_api(cluster_name)

    deployment = serve.deployment(
        name="HttpApi",
        max_ongoing_requests=256,
        ray_actor_options={"num_cpus": 0},
        # It would cost more than a read, and keys may be secrets.
        logging_config={"enable_access_log": False},
    )
    application: serve.Application = deployment(serve.ingress(build)(_HttpApi)).bind()
    return application


class _HttpApi:
    """What Serve replicates; the application is built in each replica."""


def _connected_api(cluster_name: str) -> FastAPI:
    from daycache_ray.client import map_watch
    from daycache_ray.client.async_cache import aconnect

    # This process reads what strangers may have had written, so it unpickles nothing, whatever a region allows.
    forbid_pickle()
    pool = CachePool(lambda service: aconnect(cluster_name, service=service))
    watches: list[map_watch.MapWatch] = []

    async def get_map() -> ClusterMap:
        if not watches:
            watches.append(await asyncio.to_thread(map_watch.acquire, cluster_name, None))
        return watches[0].router.cluster_map

    @contextlib.asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        yield
        await pool.close()
        for watch in watches:
            map_watch.release(watch)

    return create_api(pool.get, get_map, lifespan=lifespan)


async def _awaited(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


def _add_cluster_routes(api: FastAPI, cache_of: CacheOfService, get_map: Callable[[], Any]) -> None:
    called = Depends(call_of)

    @api.get("/v1/statistics", tags=["cluster"], summary="Read the counters of every region", **documents.STATISTICS)
    async def get_statistics(call: Call = called) -> Response:
        cache = await cache_of(call.service)
        regions = await cache.statistics()
        shown = {
            name: {**dataclasses.asdict(statistics), "hit_ratio": statistics.hit_ratio}
            for name, statistics in regions.items()
        }
        return _json({"service": call.service, "regions": shown})

    @api.get("/v1/cluster", tags=["cluster"], summary="Read who serves what", **documents.CLUSTER)
    async def get_cluster() -> Response:
        return _json(_shown_map(await _awaited(get_map())))

    @api.get("/healthz", tags=["health"], summary="Whether this process answers", **documents.HEALTHZ)
    async def get_healthz() -> Response:
        return _json({"status": "ok"})

    @api.get("/readyz", tags=["health"], summary="Whether every shard has a primary", **documents.READYZ)
    async def get_readyz() -> Response:
        cluster_map: ClusterMap = await _awaited(get_map())
        shards = [shard for region in cluster_map.shards.values() for shard in region]
        without = [str(shard.shard) for shard in shards if shard.primary is None]
        if without:
            raise ShardUnavailableError(f"no primary at the moment: {', '.join(without)}", retry_after_s=1.0)
        return _json({"status": "ready", "cluster": cluster_map.name, "shards_count": len(shards)})


def _shown_map(cluster_map: ClusterMap) -> dict[str, Any]:
    """Return a cluster map without its token, its loaders and its paths."""
    config = cluster_map.config
    return {
        "name": cluster_map.name,
        "version": cluster_map.version,
        "services": [service.name for service in config.services],
        "regions": [
            {"name": region.name, **{name: getattr(region, name) for name in _SHOWN_OF_REGION}}
            for region in config.regions
        ],
        "shards": [
            {
                "region": shard.shard.region,
                "number": shard.shard.number,
                "epoch": shard.epoch,
                "primary_seat": shard.primary_seat,
                "members": [
                    {
                        name: getattr(member, name)
                        for name in ("seat", "incarnation", "in_sync", "actor_name", "node_id", "pid", "host", "port")
                    }
                    for member in shard.members
                ],
            }
            for region in cluster_map.shards.values()
            for shard in region
        ],
    }


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json", headers={"cache-control": "no-store"})


def _version() -> str:
    try:
        return version("daycache-ray")
    except PackageNotFoundError:
        return "0"
