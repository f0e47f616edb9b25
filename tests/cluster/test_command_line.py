"""`daycache up` leaves a cluster that other processes use, until `daycache down`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CONFIG = """
name: cli-shop
regions:
  - name: orders
    replicas: 2
    level: strong
    memory_bytes: 8388608
prediction:
  enabled: false
"""


def daycache(address: str, *arguments: str) -> tuple[int, Any]:
    """Run one command with --json in a process of its own; returns exit code and what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "DAYCACHE_NAME"}
    done = subprocess.run(
        [sys.executable, "-m", "daycache_ray.cli.main", *arguments, "--address", address, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def shop(embedded_ray: str, tmp_path: Path) -> Any:
    """A cluster that `daycache up` started; gives the address of its Ray."""
    (tmp_path / "shop.yaml").write_text(CONFIG)
    code, said = daycache(embedded_ray, "up", "--config", str(tmp_path / "shop.yaml"))
    assert (code, said) == (0, {"cluster": "cli-shop", "regions": ["orders"], "http_url": None}), said
    yield embedded_ray
    daycache(embedded_ray, "down", "--cluster", "cli-shop")


def test_a_cluster_by_command(shop: str, tmp_path: Path) -> None:
    there = ("--cluster", "cli-shop")

    code, said = daycache(shop, "up", "--config", str(tmp_path / "shop.yaml"))
    assert (code, said["error"]) == (1, "ClusterExistsError")

    code, said = daycache(shop, "set", "orders", "o1", '{"items": 3}', "--as", "json", *there)
    assert code == 0
    assert said["version"]["lsn"] >= 1
    code, said = daycache(shop, "get", "orders", "o1", *there)
    assert (code, said["value"], said["level"]) == (0, {"items": 3}, "strong")
    assert daycache(shop, "scan", "orders", *there) == (0, {"keys": ["o1"], "more": False})

    code, said = daycache(shop, "status", *there)
    assert code == 0
    (shard,) = said["regions"]["orders"]["shards"]
    assert [member["in_sync"] for member in shard["members"]] == [True, True]
    assert shard["primary_seat"] in (0, 1)
    assert said["regions"]["orders"]["entries_count"] == 1

    assert daycache(shop, "delete", "orders", "o1", *there) == (0, {"deleted": True})
    assert daycache(shop, "get", "orders", "o1", *there) == (1, {"found": False})

    assert daycache(shop, "down", *there) == (0, {"cluster": "cli-shop", "stopped": True})
    code, said = daycache(shop, "status", *there)
    assert (code, said["error"]) == (1, "ClusterNotFoundError")


def test_nothing_listens() -> None:
    code, said = daycache("127.0.0.1:1", "status")

    assert (code, said["error"]) == (1, "ClusterNotFoundError")
    assert "nothing answers at 127.0.0.1:1" in said["message"]


def test_fewer_machines_than_wanted(embedded_ray: str) -> None:
    code, said = daycache(embedded_ray, "up", "--nodes", "2", "--wait-s", "0")

    assert (code, said["error"]) == (1, "UnavailableError")
    assert "1 of 2 machines" in said["message"]
