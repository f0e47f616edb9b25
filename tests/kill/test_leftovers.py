"""A driver killed with -9 takes its Ray with it and leaves its memory behind; the next cluster here gives it back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import daycache_ray as daycache
from daycache_ray import ClusterConfig, RegionConfig
from daycache_ray.storage.leftovers import examine

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0

DRIVER = """
import signal
import daycache_ray as daycache
from daycache_ray import ClusterConfig, RegionConfig
region = RegionConfig(name="orders", replicas=1, memory_bytes=4 << 20)
cache = daycache.start(ClusterConfig(name="killed-driver", regions=(region,), prediction={"enabled": False}))
cache.region("orders").set("a", 1)
print(cache.cluster_map.directory, flush=True)
signal.pause()
"""


def small(name: str) -> ClusterConfig:
    region = RegionConfig(name="orders", replicas=1, memory_bytes=4 << 20)
    return ClusterConfig(name=name, regions=(region,), prediction={"enabled": False})


def reason(directory: str) -> str:
    """What is said of a directory now."""
    return next(folder.reason for folder in examine("/dev/shm") if folder.path == directory)


def test_the_next_cluster_removes_what_a_killed_driver_left(embedded_ray: str) -> None:
    with daycache.start(small("beside")) as beside:
        beside.region("orders").set("a", "beside")
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        directory = process.stdout.readline().strip()
        assert os.path.isdir(directory), "the driver did not come up"
        # A whole cluster of another Ray, and it lives: nobody may touch it.
        with daycache.start(small("during")):
            assert os.path.isdir(directory)
        assert "processes of its cluster run here" in reason(directory)

        process.send_signal(signal.SIGKILL)
        process.communicate()
        end_s = time.monotonic() + DEADLINE_S
        while "is dead" not in reason(directory):
            assert time.monotonic() < end_s, reason(directory)
            time.sleep(0.05)
        assert os.path.isdir(directory)
        with daycache.start(small("next")) as following:
            assert not os.path.exists(directory)
            assert beside.region("orders").get("a") == "beside"
            following.region("orders").set("a", 1)
