"""Real processes, really killed; the clusters here are small and of their own names."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is marked `kill`."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("kill")
