"""RedisLoader against a real server, and a cluster of one."""

from __future__ import annotations

import pickle

import pytest
import redis

from daycache_ray.origins.loading import resolve_loader
from daycache_ray.origins.redis import KEYS_PER_QUERY, RedisLoader
from daycache_ray.words.errors import LoadError
from daycache_ray.words.ports import MISSING


def test_bytes_text_and_a_template(redis_port: int) -> None:
    with redis.Redis(port=redis_port) as client:
        client.mset({"price:AAPL": "150.25", "price:é": "ü", "AAPL": "plain", "price:empty": ""})
        client.rpush("price:list", 1)
    url = f"redis://127.0.0.1:{redis_port}/0"
    loader = RedisLoader(url, key="price:{key}")
    assert loader.load("AAPL") == b"150.25"
    assert loader.load("nope") is MISSING
    assert loader.load_many(["AAPL", "nope", "empty", "list"]) == {"AAPL": b"150.25", "empty": b""}
    with pytest.raises(LoadError, match="WRONGTYPE"):
        loader.load("list")
    assert RedisLoader(url, key="price:{key}", value="str").load("é") == "ü"
    assert resolve_loader(RedisLoader(url, key="price:{key}", value=float)).load_many(["AAPL"]) == {"AAPL": 150.25}
    with pytest.raises(LoadError, match="could not convert"):
        RedisLoader(url, value=float).load("AAPL")
    copy = pickle.loads(pickle.dumps(loader))
    assert copy.load("AAPL") == b"150.25"
    for each in (loader, copy):
        each.close()
    assert loader.load("AAPL") == b"150.25"
    loader.close()


def test_more_keys_than_one_query_takes(redis_port: int) -> None:
    keys = [f"k{number}" for number in range(2 * KEYS_PER_QUERY + 5)]
    with redis.Redis(port=redis_port) as client:
        client.mset(dict.fromkeys(keys, b"1"))
        before = client.info("commandstats")["cmdstat_mset"]["calls"]
        loader = RedisLoader(f"redis://127.0.0.1:{redis_port}")
        assert loader.load_many(keys) == dict.fromkeys(keys, b"1")
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == 3 * before
    loader.close()


def test_a_cluster(redis_cluster_port: int) -> None:
    loader = RedisLoader(f"redis://127.0.0.1:{redis_cluster_port}", cluster=True)
    with redis.RedisCluster("127.0.0.1", redis_cluster_port) as client:
        for number in range(20):
            client.set(f"k{number}", number)
    assert loader.load("k3") == b"3"
    found = loader.load_many([f"k{number}" for number in range(25)])
    assert found == {f"k{number}": str(number).encode() for number in range(20)}
    loader.close()


def test_nobody_listens() -> None:
    loader = RedisLoader("redis://app:s3cret@127.0.0.1:9", deadline_s=0.5)
    with pytest.raises(LoadError, match="ConnectionError") as caught:
        loader.load_many(["a"])
    assert "s3cret" not in str(caught.value)
