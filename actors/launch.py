"""From a configuration to running, named actors, and back to none."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import secrets
import shutil
import threading
from typing import TYPE_CHECKING, Any, cast

import ray
import structlog

from daycache_ray.actors.coordinator import CoordinatorActor
from daycache_ray.origins.sealed import SealedLoader
from daycache_ray.wire.ray_runtime import join, join_or_start
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import ClusterExistsError, ClusterNotFoundError, UnavailableError
from daycache_ray.words.naming import NAMESPACE, cluster_directory, coordinator_name

if TYPE_CHECKING:
    from daycache_ray.client.async_cache import AsyncCache
    from daycache_ray.client.cache import Cache

READY_S = 60.0
"""How long a start may take before it is called failed; actors of a loaded machine need seconds each."""

DRAIN_S = 10.0
"""How long a stop waits for write-behind, unless its caller says otherwise."""

_log = structlog.get_logger("daycache.launch")
_ray_is_ours = False


def start(
    config: ClusterConfig | None = None, *, http: bool = False, address: str | None = None, service: str = "default"
) -> Cache:
    """Start a cluster and return a cache connected to it; Ray itself is started where none runs.

    Args:
        config: what to start; None: the three built-in regions under the name "daycache".
        http: also serve HTTP on Ray Serve; then `cache.http_url` is its address.
        address: a Ray cluster as for `ray.init`; None: the one this process is in, else RAY_ADDRESS,
            else a new one on this machine.
        service: the name under which the returned cache asks.

    Returns:
        A Cache. Used as a context manager it stops the cluster at the end; `close()` leaves it running.

    Raises:
        ClusterExistsError: a cluster of that name runs already: connect to it or stop it.
        UnavailableError: the actors did not come up; the message says which.
    """
    from daycache_ray.client.cache import connect

    config = config if config is not None else ClusterConfig()
    _launch(config, http=http, address=address)
    try:
        cache = connect(config.name, service=service)
    except BaseException:
        stop(config.name)
        raise
    cache.stop_on_exit = lambda: stop(config.name)
    return cache


class astart:  # noqa: N801 - it is used like the function that it stands for
    """`async with daycache.astart(config) as cache:` or `cache = await daycache.astart(config)`.

    Takes what `start` takes and gives an AsyncCache.
    """

    def __init__(self, config: ClusterConfig | None = None, *, http: bool = False, service: str = "default") -> None:
        self._config = config if config is not None else ClusterConfig()
        self._http = http
        self._service = service
        self._cache: AsyncCache | None = None

    def __await__(self) -> Any:
        return self._start().__await__()

    async def _start(self) -> AsyncCache:
        from daycache_ray.client.async_cache import aconnect

        await asyncio.to_thread(_launch, self._config, http=self._http, address=None)
        return await aconnect(self._config.name, service=self._service)

    async def __aenter__(self) -> AsyncCache:
        self._cache = await self._start()
        return self._cache

    async def __aexit__(self, *error: object) -> None:
        if self._cache is not None:
            await self._cache.close()
        await asyncio.to_thread(stop, self._config.name)


def stop(name: str = "daycache", *, address: str | None = None, drain_s: float = DRAIN_S) -> int:
    """Stop a cluster: its actors, its Serve applications, its memory. Ray stops too if `start` began it.

    Write-behind regions first write what waits, for at most `drain_s` seconds. Returns how many entries their origins
    have not got, dead letters included; they are gone, and a warning is logged. 0 where nothing was lost.

    Raises:
        ClusterNotFoundError: no cluster of that name runs.
    """
    global _ray_is_ours
    join(address)
    try:
        coordinator = ray.get_actor(coordinator_name(name), namespace=NAMESPACE)
    except ValueError:
        raise ClusterNotFoundError(f"no cluster '{name}' runs in this Ray cluster") from None
    _delete_applications(name)
    left_count = 0
    with contextlib.suppress(ray.exceptions.RayError):
        left_count = cast(int, ray.get(coordinator.stop.remote(drain_s), timeout=30 + drain_s))
    if left_count:
        _log.warning("stopped with writes that their origin has not got", cluster=name, entries=left_count)
    with contextlib.suppress(ray.exceptions.RayError):
        ray.kill(coordinator)
    directory = _started.pop(name, None)
    if directory is not None:  # an actor that died while it opened its store has left it there
        shutil.rmtree(directory, ignore_errors=True)
    if _ray_is_ours and not _started:
        _ray_is_ours = False
        ray.shutdown()
    return left_count


_started: dict[str, str] = {}
"""Clusters that this process started: name and directory on this node."""


def _launch(config: ClusterConfig, *, http: bool, address: str | None) -> None:
    global _ray_is_ours
    _ray_is_ours = join_or_start(address) or _ray_is_ours
    cluster_id = secrets.token_hex(4)
    coordinator = _create_coordinator(config, cluster_id)
    _started[config.name] = cluster_directory(config.memory_path, config.name, cluster_id)
    try:
        if http:
            from daycache_ray.serve.applications import deploy_http

            url = deploy_http(config.name)
            ray.get(coordinator.set_http_url.remote(url))
        try:
            problem = ray.get(coordinator.wait_ready.remote(READY_S), timeout=READY_S + 10)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        if problem:
            raise UnavailableError(f"cluster '{config.name}' did not come up within {READY_S:.0f} s: {problem}")
    except BaseException:
        with contextlib.suppress(Exception):
            stop(config.name)
        raise
    if config.prediction.enabled and config.prediction.network:
        threading.Thread(target=_serve_predictor, args=(config.name,), name="daycache-predictor", daemon=True).start()


def _create_coordinator(config: ClusterConfig, cluster_id: str) -> Any:
    sealed = config.model_copy(
        update={
            "regions": tuple(
                region.model_copy(
                    update={
                        name: SealedLoader.seal(given)
                        for name in ("loader", "writer")
                        if (given := getattr(region, name)) is not None
                    }
                )
                for region in config.regions
            )
        }
    )
    options = CoordinatorActor.options(name=coordinator_name(config.name), namespace=NAMESPACE, lifetime="detached")
    try:
        return options.remote(sealed, cluster_id, secrets.token_hex(16))
    except ValueError:
        raise ClusterExistsError(
            f"a cluster '{config.name}' runs already: daycache.connect('{config.name}'), "
            "or stop it, or choose another name"
        ) from None


def _delete_applications(name: str) -> None:
    # Importing Serve takes a second; a cluster without it must not pay for that.
    try:
        ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
    except ValueError:
        return
    from daycache_ray.serve.applications import delete_applications

    delete_applications(name)


def _serve_predictor(name: str) -> None:
    from daycache_ray.serve.applications import deploy_predictor

    try:
        deploy_predictor(name)
    except Exception as error:  # the prefetcher goes on with its tables, and its statistics say so
        _log.warning("no network: the predictor could not be served", reason=f"{type(error).__name__}: {error}")


@atexit.register
def _leave_nothing_behind() -> None:
    # Ray ends its actors with the driver that began it; the files in shared memory would stay.
    if _ray_is_ours:
        for directory in _started.values():
            shutil.rmtree(directory, ignore_errors=True)
