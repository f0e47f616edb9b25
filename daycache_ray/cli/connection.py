"""From the options that every command shares to a cache; Ray is imported only by commands that need it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from daycache_ray.client.cache import Cache

Address = Annotated[
    str | None,
    typer.Option(
        "--address", envvar="RAY_ADDRESS", help="The Ray cluster, host:port; by default the one on this machine."
    ),
]
Cluster = Annotated[str, typer.Option("--cluster", envvar="DAYCACHE_NAME", help="The cache's name.")]
Service = Annotated[str, typer.Option("--service", help="The service to ask as; keys of two services never meet.")]

DEFAULT_CLUSTER = "daycache"
DEFAULT_SERVICE = "default"


def join_ray(address: str | None) -> None:
    """Make this process part of a Ray cluster that runs already; never starts one.

    Raises:
        ClusterNotFoundError: none runs there; start one with `ray start --head`.
    """
    # Ray reports in colour on standard error; a command line says what it has to say itself.
    os.environ.setdefault("RAY_LOG_TO_STDERR", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from daycache_ray.wire.ray_runtime import join

    join(address or None)


@contextlib.contextmanager
def connected(address: str | None, cluster: str, service: str) -> Iterator[Cache]:
    """Give a cache for one command and close it; the cluster runs on."""
    from daycache_ray.client.cache import connect

    join_ray(address)
    cache = connect(cluster, service=service)
    try:
        yield cache
    finally:
        cache.close()
