"""Names by which the parts of a cluster find each other; a client imports no actor class."""

from typing import Final

NAMESPACE: Final = "daycache"
"""Ray namespace of every actor of every cluster."""


def coordinator_name(cluster: str) -> str:
    """Return the name of a cluster's coordinator actor.

    >>> coordinator_name("shop")
    'shop:coordinator'
    """
    return f"{cluster}:coordinator"


def replica_name(cluster: str, number: int) -> str:
    """Return the name of a cluster's replica actor; `number` is never used twice in one cluster.

    >>> replica_name("shop", 3)
    'shop:replica:3'
    """
    return f"{cluster}:replica:{number}"


def cluster_directory(memory_path: str, cluster: str, cluster_id: str) -> str:
    """Return the directory on every node that holds a cluster's stores; `cluster_id` tells its lives apart.

    >>> cluster_directory("/dev/shm", "shop", "1f2e")
    '/dev/shm/daycache/shop-1f2e'
    """
    return f"{memory_path.rstrip('/')}/daycache/{cluster}-{cluster_id}"


def prefetcher_name(cluster: str) -> str:
    """Return the name of a cluster's prefetcher actor."""
    return f"{cluster}:prefetcher"


def trainer_name(cluster: str) -> str:
    """Return the name of a cluster's trainer actor."""
    return f"{cluster}:trainer"


def http_application_name(cluster: str) -> str:
    """Return the name of a cluster's HTTP application on Ray Serve."""
    return f"{cluster}-http"


def predictor_application_name(cluster: str) -> str:
    """Return the name of a cluster's predictor application on Ray Serve."""
    return f"{cluster}-predictor"
