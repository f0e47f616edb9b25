"""One embedded Ray for the whole suite: starting one takes seconds, so the tests share it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is marked `cluster`, so that `-m "not cluster"` leaves it out."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def embedded_ray() -> Iterator[str]:
    """A Ray of our own; gives its address. Ends with the suite."""
    import ray

    # A Unix socket's path has at most 107 bytes, and Ray puts its own below this directory.
    directory = tempfile.mkdtemp(prefix="dc", dir="/tmp")
    context = ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=128 * 1024 * 1024,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=directory,
    )
    try:
        yield context.address_info["gcs_address"]
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)
