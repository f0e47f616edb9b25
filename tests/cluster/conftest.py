"""Tests on a real Ray; `embedded_ray` of tests/conftest.py is theirs and those of tests/kill."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is marked `cluster`, so that `-m "not cluster"` leaves it out."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("cluster")
