"""From the options that every command shares to a cache; Ray is imported only by commands that need it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from daycache_ray.words.errors import ClusterNotFoundError, UnavailableError

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

REACH_S = 2.0
"""How long a machine of the same network may take to accept a connection."""

NODES_POLL_S = 1.0
"""Machines come up in seconds to minutes."""


def join_ray(address: str | None) -> None:
    """Make this process part of a Ray cluster that runs already; never starts one.

    Raises:
        ClusterNotFoundError: none runs there; start one with `ray start --head`.
    """
    # Ray would wait for a minute at an address where nothing listens.
    if address and not answers(address):
        raise ClusterNotFoundError(f"nothing answers at {address}: start Ray there, or correct --address, RAY_ADDRESS")
    # Read when Ray is imported: a command line says itself what there is to say.
    os.environ.setdefault("RAY_LOGGER_LEVEL", "error")
    from daycache_ray.wire.ray_runtime import join

    join(address or None)


def answers(address: str) -> bool:
    """Return whether something listens at `host:port`; False within two seconds otherwise.

    >>> answers("head")
    False
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return False
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError):
        return False
    return True


def wait_for_nodes(count: int, wait_s: float) -> None:
    """Wait until the Ray cluster has `count` machines.

    Raises:
        UnavailableError: it has fewer after `wait_s` seconds; says how many.
    """
    deadline_s = time.monotonic() + wait_s
    while (alive := _machines_alive()) < count:
        if time.monotonic() > deadline_s:
            raise UnavailableError(f"Ray has {alive} of {count} machines after {wait_s:g} s: see `ray status`")
        time.sleep(NODES_POLL_S)


def _machines_alive() -> int:
    import ray

    return sum(bool(node["Alive"]) for node in ray.nodes())


@contextlib.contextmanager
def connected(address: str | None, cluster: str, service: str) -> Iterator[Cache]:
    """Give a cache for one command and close it; the cluster runs on."""
    join_ray(address)
    from daycache_ray.client.cache import connect

    cache = connect(cluster, service=service)
    try:
        yield cache
    finally:
        cache.close()
