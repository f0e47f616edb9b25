"""Bodies over HTTP: every media type there and back, what is refused, and pickles above all."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from daycache_ray.codecs.registry import decode
from daycache_ray.words.records import Codec
from tests.unit.codecs.kinds import Side
from tests.unit.serve.fake_cache import FakeCluster
from tests.unit.serve.http_answers import problem, store

ORDERS = "/v1/regions/orders/entries/"


@pytest.mark.parametrize(
    ("body", "content_type", "value", "shown_as"),
    [
        (b"\x00\xff", "application/octet-stream", b"\x00\xff", "application/octet-stream"),
        (b"\x00\xff", None, b"\x00\xff", "application/octet-stream"),
        (b"", None, b"", "application/octet-stream"),
        ("Grüße".encode(), "text/plain; charset=utf-8", "Grüße", "text/plain; charset=utf-8"),
        (b"a", 'TEXT/Plain;charset="US-ASCII"', "a", "text/plain; charset=utf-8"),
        (b'{"a":[1,2.5,null,true,"x"]}', "application/json", {"a": [1, 2.5, None, True, "x"]}, "application/json"),
        (b"null", "application/json", None, "application/json"),
        (b"123456789012345678901234567890", "application/json", 123456789012345678901234567890, "application/json"),
    ],
)
async def test_a_body_comes_back(
    client: httpx.AsyncClient, cluster: FakeCluster, body: bytes, content_type: str | None, value: Any, shown_as: str
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    written = await client.put(ORDERS + "k", content=body, headers=headers)
    assert written.status_code == 204
    entry = await cluster.cache("default").region("orders").get_entry("k")
    assert entry is not None
    assert type(entry.value) is type(value)
    assert entry.value == value
    read = await client.get(ORDERS + "k")
    assert (read.status_code, read.content, read.headers["content-type"]) == (200, body, shown_as)
    head = await client.head(ORDERS + "k")
    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(read.headers)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-pickle",
        "application/python-pickle",
        "application/vnd.pickle; protocol=5",
        "Application/X-Python-Pickle",
    ],
)
async def test_pickles_are_refused_by_name(client: httpx.AsyncClient, cluster: FakeCluster, media_type: str) -> None:
    answer = await client.put(ORDERS + "k", content=b"\x80\x05N.", headers={"content-type": media_type})
    assert "pickle" in problem(answer, 415, "unsupported-media-type")["detail"]
    assert not cluster.entries


async def test_a_stored_pickle_is_never_read(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    await store(cluster, "p", object, "trusted")
    await store(cluster, "q", 1, "trusted")
    assert cluster.entries["trusted", "default", b"p"][2] == Codec.PICKLE
    problem(await client.get("/v1/regions/trusted/entries/p"), 409, "pickled-value")
    assert (await client.head("/v1/regions/trusted/entries/p")).status_code == 409
    batch = await client.post("/v1/regions/trusted/entries:batchGet", json={"keys": ["p", "q", "r"]})
    items = batch.json()["entries"]
    assert items[0]["problem"]["type"].endswith(":pickled-value")
    assert items[1:] == [{"key": "q", "found": True, "value": 1}, {"key": "r", "found": False}]


async def test_a_type_that_the_door_has_not_registered_is_said(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    await store(cluster, "k", {"side": Side.BUY})
    (place, (version, expires, codec, payload)) = next(iter(cluster.entries.items()))
    cluster.entries[place] = (version, expires, codec, payload.replace(b".Side", b".Sidf"))
    detail = problem(await client.get(ORDERS + "k"), 409, "unknown-type")["detail"]
    assert "kinds.Sidf" in detail


async def test_deep_json_does_not_become_a_pickle(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    deep = b"[" * 150 + b"]" * 150
    headers = {"content-type": "application/json"}
    problem(await client.put("/v1/regions/trusted/entries/k", content=deep, headers=headers), 422, "invalid-value")
    endless = b"[" * 100_000
    problem(await client.put("/v1/regions/trusted/entries/k", content=endless, headers=headers), 400, "malformed-body")
    assert not cluster.entries


@pytest.mark.parametrize(
    ("body", "content_type", "status", "slug"),
    [
        (b"{", "application/json", 400, "malformed-body"),
        (b"NaN", "application/json", 400, "malformed-body"),
        (b"1e999", "application/json", 400, "malformed-body"),
        (b"\xff", "application/json", 400, "malformed-body"),
        (b"1" * 5000, "application/json", 400, "malformed-body"),
        (b"\xff", "text/plain", 400, "malformed-body"),
        (b"a", "text/plain; charset=latin-1", 415, "unsupported-media-type"),
        (b"not npy", "application/x-npy", 400, "malformed-body"),
        (b"not arrow", "application/vnd.apache.arrow.stream", 400, "malformed-body"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b"a", "image/png", 415, "unsupported-media-type"),
        (b"a", ";;;", 415, "unsupported-media-type"),
        (b"x" * 100_001, None, 413, "value-too-large"),
    ],
)
async def test_bodies_that_are_refused(
    client: httpx.AsyncClient, cluster: FakeCluster, body: bytes, content_type: str | None, status: int, slug: str
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    problem(await client.put(ORDERS + "k", content=body, headers=headers), status, slug)
    assert not cluster.entries


async def test_compressed_and_endless_bodies(
    client: httpx.AsyncClient, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped = await client.put(ORDERS + "k", content=b"a", headers={"content-encoding": "gzip"})
    problem(zipped, 415, "unsupported-media-type")
    monkeypatch.setattr("daycache_ray.serve.http_requests.VALUE_BYTES_MAX", 10)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x"

    problem(await client.put(ORDERS + "k", content=parts()), 413, "value-too-large")
    assert not cluster.entries


async def test_arrays_by_accept(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    array = np.arange(6.0).reshape(2, 3)
    await store(cluster, "a", array)
    for accept in (None, "*/*", "application/x-npy", "application/json;q=0.5, application/*"):
        read = await client.get(ORDERS + "a", headers={} if accept is None else {"accept": accept})
        assert read.headers["content-type"] == "application/x-npy"
        assert np.array_equal(np.load(io.BytesIO(read.content), allow_pickle=False), array)
    listed = await client.get(ORDERS + "a", headers={"accept": "application/json"})
    assert listed.json() == array.tolist()
    assert listed.headers["etag"] == read.headers["etag"].replace('"', '.json"').removeprefix(".json")
    assert (await client.get(ORDERS + "a", headers={"accept": "text/plain, application/json"})).json() == array.tolist()
    same = {"accept": "application/json", "if-none-match": listed.headers["etag"]}
    assert (await client.get(ORDERS + "a", headers=same)).status_code == 304
    same["accept"] = "*/*"
    assert (await client.get(ORDERS + "a", headers=same)).status_code == 200
    taken = await client.put(
        ORDERS + "a",
        content=read.content,
        headers={"if-match": listed.headers["etag"], "content-type": "application/x-npy"},
    )
    assert taken.status_code == 204
    entry = await cluster.cache("default").region("orders").get_entry("a")
    assert entry is not None
    assert np.array_equal(entry.value, array)


async def test_an_npy_of_objects_is_refused(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    out = io.BytesIO()
    np.save(out, np.array([{}], object), allow_pickle=True)
    answer = await client.put(ORDERS + "a", content=out.getvalue(), headers={"content-type": "application/x-npy"})
    problem(answer, 400, "malformed-body")
    assert not cluster.entries


async def test_tables_and_tensors(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    table = pa.table({"a": [1, None]})
    await store(cluster, "t", table)
    read = await client.get(ORDERS + "t")
    assert read.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert pa.ipc.open_stream(read.content).read_all().equals(table)
    headers = {"content-type": "application/vnd.apache.arrow.stream"}
    assert (await client.put(ORDERS + "u", content=read.content, headers=headers)).status_code == 204
    assert decode(*cluster.entries["orders", "default", b"u"][2:]).equals(table)
    await store(cluster, "x", torch.ones(2))
    assert np.array_equal(np.load(io.BytesIO((await client.get(ORDERS + "x")).content)), np.ones(2, "f4"))
    await store(cluster, "b", torch.ones(2, dtype=torch.bfloat16))
    problem(await client.get(ORDERS + "b"), 406, "not-acceptable")


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        (pd.DataFrame({"a": [1, 2]}), {"a": [1, 2]}),
        (pd.Series([1, 2], name="a"), {"values": [1, 2]}),
        (pl.DataFrame({"a": [1, None]}), {"a": [1, None]}),
        (pl.Series("a", ["x"]), {"values": ["x"]}),
        (pa.array([1, None]), {"values": [1, None]}),
        (pa.chunked_array([[1], [2]]), {"values": [1, 2]}),
    ],
    ids=lambda value: f"{type(value).__module__}.{type(value).__name__}",
)
async def test_frames_are_tables(client: httpx.AsyncClient, cluster: FakeCluster, value: Any, columns: Any) -> None:
    await store(cluster, "f", value)
    read = await client.get(ORDERS + "f")
    assert read.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert pa.ipc.open_stream(read.content).read_all().to_pydict() == columns


async def test_items_that_npy_would_change(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    await store(cluster, "m", np.zeros(2, ml_dtypes.bfloat16))
    await store(cluster, "r", np.zeros(2, [("a", ml_dtypes.bfloat16, (2,))]))
    await store(cluster, "s", np.array(["x", "yy"], np.dtypes.StringDType()))
    await store(cluster, "v", np.zeros(2, [("a", "f8", (2,)), ("b", "U3")]))
    for key in ("m", "r"):
        problem(await client.get(ORDERS + key), 406, "not-acceptable")
        answer = await client.get(ORDERS + key, headers={"accept": "application/x-npy"})
        assert ".npy has no" in problem(answer, 406, "not-acceptable")["detail"]
    assert (await client.get(ORDERS + "s")).json() == ["x", "yy"]
    assert np.load(io.BytesIO((await client.get(ORDERS + "v")).content)).dtype.names == ("a", "b")


@pytest.mark.parametrize(
    ("value", "accept", "found"),
    [
        ((1, (2, "a")), None, [1, [2, "a"]]),
        (Decimal("1.50"), None, "1.50"),
        (np.float32(1.5), None, 1.5),
        ("text", "application/json", "text"),
        ("\ud800", None, "\ud800"),
        ({"a": "\udfff"}, None, {"a": "\udfff"}),
        ({1: 2}, None, None),
        ({1, 2}, None, None),
        (float("nan"), None, None),
        ([b"x"], None, None),
        (10**5000, None, None),
        (b"x", "application/json", None),
        (b"x", "application/octet-stream;q=0", None),
        ({"a": 1}, "text/html", None),
        (1, "image/*, */*;q=0", None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_other_values_as_json_or_not_at_all(
    client: httpx.AsyncClient, cluster: FakeCluster, value: Any, accept: str | None, found: Any
) -> None:
    await store(cluster, "k", value)
    read = await client.get(ORDERS + "k", headers={} if accept is None else {"accept": accept})
    if found is None:
        problem(read, 406, "not-acceptable")
    else:
        assert json.loads(read.content) == found
