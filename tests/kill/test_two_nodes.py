"""Two Ray nodes on this machine: copies on both, TCP between them, no store to salvage, the grace decides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = textwrap.dedent(
    """
    import os, signal, sys, time
    import ray
    from ray.cluster_utils import Cluster
    import daycache_ray as daycache
    from daycache_ray import ClusterConfig, RegionConfig

    def wait_until(condition, what):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if answer := condition():
                return answer
            time.sleep(0.02)
        raise AssertionError(what)

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    other = nodes.add_node(num_cpus=2)
    ray.init(address=nodes.address, namespace="daycache", log_to_driver=False)
    region = RegionConfig(name="orders", level="strong", replicas=2, memory_bytes=16 << 20)
    config = ClusterConfig(name="pair", regions=(region,), prediction={"enabled": False})
    cache = daycache.start(config)

    def shard():
        return cache.cluster_map.shards["orders"][0]

    def whole():
        return shard().primary is not None and sum(member.in_sync for member in shard().members) == 2

    wait_until(whole, "two copies")
    assert len({member.node_id for member in shard().members}) == 2, "one copy a node"
    orders = cache.region("orders")
    for number in range(500):
        orders.set(f"key-{number}", number)
    assert orders.get_entry("key-1").served_by in ("memory", "primary")

    os.kill(shard().primary.pid, signal.SIGKILL)
    for number in range(500):
        assert orders.get(f"key-{number}", deadline_s=30) == number
    orders.set("after", 1, deadline_s=30)
    wait_until(whole, "two copies again")

    here = ray.get_runtime_context().get_node_id()
    away = next(member for member in shard().members if member.node_id != here)
    written = {f"late-{number}": number for number in range(200)}
    orders.set_many(written)
    nodes.remove_node(other, allow_graceful=False)
    found = orders.get_many(list(written), deadline_s=60)
    assert found == written, f"{len(found)} of {len(written)} found after a node was lost"
    wait_until(whole, "two copies, both on the node that is left")
    orders.set("after the node", 1, deadline_s=60)
    assert orders.get("after the node") == 1
    print("ALL WELL")
    cache.close()
    daycache.stop("pair")
    ray.shutdown()
    nodes.shutdown()
    """
)


def test_members_and_nodes_die_on_two_nodes() -> None:
    # A process of its own: Ray's cluster of the suite must not be joined.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name, value in (("INITIAL_DELAY_MS", "0"), ("PERIOD_MS", "1000"), ("TIMEOUT_MS", "1000")):
        environment[f"RAY_health_check_{name.lower()}"] = value
    environment["RAY_health_check_failure_threshold"] = "3"
    with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
        file.write(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, file.name],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        os.unlink(file.name)
    assert "ALL WELL" in output, f"{output[-2000:]}\n{errors[-4000:]}"
