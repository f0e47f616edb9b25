"""Write-through on a real cluster: origin and cache agree, from threads and through every copy."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
import ray

import daycache_ray as daycache
from daycache_ray import ClusterConfig, RegionConfig, SqlWriter, WriteError


def test_origin_and_cache_agree(embedded_ray: None, tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("create table orders (name text primary key, amount integer not null)")
    connection.commit()
    writer = SqlWriter(f"sqlite:///{path}", table="orders", key_column="name", value_column="amount")
    region = RegionConfig(name="orders", level="strong", replicas=2, memory_bytes=16 << 20, writer=writer)
    config = ClusterConfig(name="through", regions=(region,), prediction={"enabled": False})
    with daycache.start(config) as cache:
        orders = cache.region("orders")
        orders.set("a", 1, deadline_s=30)

        def write(first: int) -> None:
            for number in range(first, first + 20):
                orders.set("hot", number, deadline_s=30)

        threads = [threading.Thread(target=write, args=(start,)) for start in (100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        found = dict(connection.execute("select name, amount from orders").fetchall())
        assert found == {"a": 1, "hot": orders.get("hot")}
        with pytest.raises(WriteError, match="NOT NULL"):
            orders.set("a", None)
        assert orders.get("a") == 1
        assert orders.delete("a")
        assert connection.execute("select count(*) from orders").fetchone() == (1,)
        with pytest.raises(Exception, match="writes through"):
            ray.get(orders.shard_for("a").set.remote("a", 2), timeout=20)
    connection.close()
