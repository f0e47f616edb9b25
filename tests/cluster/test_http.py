"""The HTTP door on a real Serve: what is written here is read by a client there, and the other way round."""

from __future__ import annotations

import enum
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import ray

import daycache_ray as daycache
from daycache_ray import Cache, ClusterConfig, RegionConfig

# Serve's own models warn when they are imported.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def cache(embedded_ray: str) -> Iterator[Cache]:
    config = ClusterConfig(
        name="door",
        regions=[
            RegionConfig(name="orders", shards=2, replicas=2, level="strong"),
            RegionConfig(name="quotes", replicas=1, ttl_s=60, compression="zstd"),
            RegionConfig(name="trusted", replicas=1, allow_pickle=True),
        ],
        spare_actors=0,
    )
    cache = daycache.start(config, http=True)
    try:
        yield cache
    finally:
        cache.close()
        daycache.stop("door")
        from ray import serve

        serve.shutdown()


@pytest.fixture
def door(cache: Cache) -> Iterator[httpx.Client]:
    assert cache.http_url is not None
    with httpx.Client(base_url=cache.http_url, timeout=30) as client:
        yield client


def test_it_is_ready(door: httpx.Client) -> None:
    assert door.get("/healthz").json() == {"status": "ok"}
    ready = door.get("/readyz")
    assert (ready.status_code, ready.json()["shards_count"]) == (200, 4)
    shown = door.get("/v1/cluster")
    assert [region["name"] for region in shown.json()["regions"]] == ["orders", "quotes", "trusted"]
    assert "/dev/shm" not in shown.text
    assert door.get("/openapi.json").json()["info"]["title"] == "DayCache"


def test_both_doors_show_the_same_entries(cache: Cache, door: httpx.Client) -> None:
    orders, path = cache.region("orders"), "/v1/regions/orders/entries/"
    written = door.put(path + "a", json={"size": 3, "sides": ["buy"]})
    assert written.status_code == 204
    entry = orders.get_entry("a")
    assert entry is not None
    assert entry.value == {"size": 3, "sides": ["buy"]}
    assert written.headers["etag"] == f'"{entry.version.epoch}-{entry.version.lsn}"'
    version = orders.set("b", np.arange(3.0))
    read = door.get(path + "b")
    assert read.headers["x-daycache-version"] == f"{version.epoch}-{version.lsn}"
    assert np.array_equal(np.load(io.BytesIO(read.content)), np.arange(3.0))
    many = door.post("/v1/regions/orders/entries:batchGet", json={"keys": ["a", "b", "c"]}).json()["entries"]
    assert [item["found"] for item in many] == [True, True, False]
    assert door.delete(path + "a").status_code == 204
    assert orders.get("a") is None
    assert door.get(path + "a").json()["type"] == "urn:daycache:problem:key-not-found"
    assert door.get("/v1/regions/nope/entries/a").json()["type"] == "urn:daycache:problem:unknown-region"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("caf%C3%A9", "café"),
        ("%FF%FE", b"\xff\xfe"),
        ("a%20b%3F", "a b?"),
        ("x/", "x/"),
    ],
)
def test_any_key_can_be_named(cache: Cache, door: httpx.Client, path: str, key: Any) -> None:
    assert door.put(f"/v1/regions/quotes/entries/{path}", content=path.encode()).status_code == 204
    assert cache.region("quotes").get(key) == path.encode()
    assert door.get(f"/v1/regions/quotes/entries/{path}").content == path.encode()


def test_reads_come_out_of_shared_memory(door: httpx.Client) -> None:
    path = "/v1/regions/quotes/entries/near"
    door.put(path, content=b"x" * 100_000)
    read = door.get(path)
    assert read.content == b"x" * 100_000
    assert read.headers["x-daycache-served-by"] == "memory"
    assert "expires" in read.headers


def test_one_of_many_writers_wins(door: httpx.Client) -> None:
    path = "/v1/regions/orders/entries/contended"
    tag = door.put(path, content=b"0").headers["etag"]
    together = threading.Barrier(8)

    def write(number: int) -> int:
        together.wait(30)
        return door.put(path, content=b"%d" % number, headers={"if-match": tag}).status_code

    with ThreadPoolExecutor(8) as threads:
        codes = sorted(threads.map(write, range(8)))
    assert codes == [204] + [412] * 7
    assert door.put(path, content=b"", headers={"if-none-match": "*"}).status_code == 412
    assert door.get(path, headers={"if-none-match": tag}).status_code == 200


def test_a_pickle_is_not_read_even_where_its_region_allows_it(cache: Cache, door: httpx.Client) -> None:
    cache.region("trusted").set("p", {1: object})
    assert cache.region("trusted").get("p") == {1: object}
    answer = door.get("/v1/regions/trusted/entries/p")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:daycache:problem:pickled-value")
    refused = door.put("/v1/regions/trusted/entries/q", content=b"", headers={"content-type": "application/x-pickle"})
    assert refused.status_code == 415


def test_services_do_not_meet(cache: Cache, door: httpx.Client) -> None:
    path = "/v1/regions/quotes/entries/mine"
    door.put(path + "?service=desk", content=b"of the desk")
    assert door.get(path).status_code == 404
    assert cache.service("desk").region("quotes").get("mine") == b"of the desk"


def test_statistics_count_this_door(door: httpx.Client) -> None:
    door.get("/v1/regions/quotes/entries/never there")
    regions = door.get("/v1/statistics").json()["regions"]
    assert regions["quotes"]["misses_count"] >= 1
    assert len(regions["orders"]["shards"]) == 2


def test_wrong_calls_are_problems(door: httpx.Client) -> None:
    path = "/v1/regions/orders/entries/k"
    for answer, status in (
        (door.put(path + "?ttl_s=-1", content=b""), 422),
        (door.get(path + "?level=total"), 400),
        (door.get("/v1/regions/orders/entries/"), 400),
        (door.post(path), 405),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_compressed_values_pass_every_door(cache: Cache, door: httpx.Client) -> None:
    quotes, path = cache.region("quotes"), "/v1/regions/quotes/entries/"
    value = {"levels": [{"bid": 1.5, "ask": 2.5, "venue": "XETRA"}] * 200}
    assert door.put(path + "json", json=value).status_code == 204
    quotes.set("mine", value)
    array = np.zeros(100_000)
    quotes.set("array", array)
    handle = quotes.shard_for("mine")
    ray.get(handle.set.remote("handle's", value))
    for key in ("json", "mine", "handle's"):
        assert quotes.get(key) == value
        assert quotes.get(key, level="strong") == value
        assert door.get(path + key).json() == value
        assert ray.get(handle.get.remote(key)) == value
        assert quotes.touch(key, 50)
    batch = door.post("/v1/regions/quotes/entries:batchGet", json={"keys": ["json", "mine"]}).json()["entries"]
    assert [item["value"] for item in batch] == [value, value]
    assert np.array_equal(np.load(io.BytesIO(door.get(path + "array").content)), array)
    with quotes.view("array") as view:
        assert np.array_equal(view, array)
    used = quotes.statistics().used_bytes
    assert used < array.nbytes / 10


def test_a_number_beyond_64_bits_ends_nobody(cache: Cache) -> None:
    quotes = cache.region("quotes")
    quotes.set("huge", 10**40)
    with pytest.raises(daycache.NotANumberError):
        quotes.increment("huge")
    assert quotes.get("huge") == 10**40


def test_a_type_that_the_door_does_not_know_is_said(cache: Cache, door: httpx.Client) -> None:
    class Side(enum.Enum):
        BUY = 1

    daycache.register_type(Side, name="door.Side")
    cache.region("quotes").set("side", Side.BUY)
    assert cache.region("quotes").get("side") is Side.BUY
    answer = door.get("/v1/regions/quotes/entries/side")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:daycache:problem:unknown-type")
    assert "door.Side" in answer.json()["detail"]
    with pytest.raises(daycache.UnknownTypeError, match=r"door\.Side"):
        ray.get(cache.region("quotes").shard_for("side").get.remote("side"))
