"""Real processes, really killed; the clusters here are small and of their own names."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is marked `kill`."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("kill")


@pytest.fixture(scope="session")
def embedded_ray() -> Iterator[None]:
    """A Ray of our own; ends with the suite."""
    import ray

    directory = tempfile.mkdtemp(prefix="dc", dir="/tmp")
    ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=128 * 1024 * 1024,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=directory,
    )
    try:
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)
