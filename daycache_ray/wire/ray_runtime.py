"""Which Ray a call means: the one this process is in, the one RAY_ADDRESS names, or a new one here."""

from __future__ import annotations

import os
from pathlib import Path

import ray

from daycache_ray.words.errors import ClusterNotFoundError
from daycache_ray.words.naming import NAMESPACE


def join_or_start(address: str | None = None) -> bool:
    """Make this process part of a Ray cluster; return True when a new local one was started.

    Args:
        address: as for `ray.init`; None: RAY_ADDRESS if set, else a new local cluster.

    Raises:
        ConnectionError: nothing answers at `address`.
    """
    if ray.is_initialized():
        return False
    if address or os.environ.get("RAY_ADDRESS"):
        _use_token_if_there()
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
        return False
    ray.init(
        address="local",
        namespace=NAMESPACE,
        include_dashboard=False,
        log_to_driver=False,
        num_cpus=max(2, os.cpu_count() or 2),
    )
    return True


def join(address: str | None = None) -> None:
    """Make this process part of a running Ray cluster.

    Raises:
        ClusterNotFoundError: none runs on this machine and none is named.
    """
    if ray.is_initialized():
        return
    _use_token_if_there()
    try:
        ray.init(address=address or os.environ.get("RAY_ADDRESS") or "auto", namespace=NAMESPACE, log_to_driver=False)
    except ConnectionError as error:
        raise ClusterNotFoundError(
            f"no Ray cluster to connect to ({error}): call daycache.start() first, or set RAY_ADDRESS"
        ) from None


def _use_token_if_there() -> None:
    # Ray writes a token when it starts a cluster, but a driver that joins one does not look for it.
    if "RAY_AUTH_MODE" not in os.environ and (Path.home() / ".ray" / "auth_token").exists():
        os.environ["RAY_AUTH_MODE"] = "token"
