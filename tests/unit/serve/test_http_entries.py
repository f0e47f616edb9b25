"""Entries over HTTP: keys, versions and conditions, TTLs, levels, services, batches."""

from __future__ import annotations

import httpx
import pytest

from daycache_ray.serve.http_api import create_api
from tests.unit.serve.fake_cache import NOW_S, FakeCluster
from tests.unit.serve.http_answers import problem, store

ORDERS = "/v1/regions/orders/entries/"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a/b", b"a/b"),
        ("a%2Fb", b"a/b"),
        ("a%252Fb", b"a%2Fb"),
        ("%2F%2F", b"//"),
        ("%2e%2e%2fetc", b"../etc"),
        ("caf%C3%A9", "café".encode()),
        ("%FF%FE", b"\xff\xfe"),
        ("%00", b"\x00"),
        ("a%3Fb%23c", b"a?b#c"),
        ("entries/x", b"entries/x"),
        ("a%20b+c", b"a b+c"),
    ],
)
async def test_any_key_can_be_named(client: httpx.AsyncClient, cluster: FakeCluster, path: str, key: bytes) -> None:
    assert (await client.put(ORDERS + path, content=b"v")).status_code == 204
    assert [place[2] for place in cluster.entries] == [key]
    assert (await client.get(ORDERS + path)).content == b"v"
    assert (await client.delete(ORDERS + path)).status_code == 204
    problem(await client.get(ORDERS + path), 404, "key-not-found")
    problem(await client.delete(ORDERS + path), 404, "key-not-found")


async def test_keys_that_are_none(client: httpx.AsyncClient) -> None:
    for call in (client.get, client.delete, client.put):
        problem(await call(ORDERS), 400, "invalid-key")
        problem(await call(ORDERS + "x" * 4097), 400, "invalid-key")
    problem(await client.get("/v1/regions/nope/entries/k"), 404, "unknown-region")
    problem(await client.put("/v1/regions/nope/entries/k", content=b""), 404, "unknown-region")


async def test_versions_are_tags(client: httpx.AsyncClient) -> None:
    first = await client.put(ORDERS + "k", content=b"1")
    tag = first.headers["etag"]
    assert tag == f'"{first.headers["x-daycache-version"]}"'
    read = await client.get(ORDERS + "k")
    assert read.headers["etag"] == tag
    for header in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        again = await client.get(ORDERS + "k", headers={"if-none-match": header})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    second = await client.put(ORDERS + "k", content=b"2", headers={"if-match": tag})
    assert second.status_code == 204
    assert second.headers["etag"] != tag
    assert (await client.get(ORDERS + "k", headers={"if-none-match": tag})).content == b"2"
    conflict = problem(await client.put(ORDERS + "k", content=b"3", headers={"if-match": tag}), 412, "version-conflict")
    assert f'"{conflict["current"]}"' == second.headers["etag"]
    problem(await client.get(ORDERS + "k", headers={"if-match": tag}), 412, "precondition-failed")
    assert (await client.get(ORDERS + "k", headers={"if-match": second.headers["etag"]})).content == b"2"
    either = await client.put(ORDERS + "k", content=b"4", headers={"if-match": f"{tag}, {second.headers['etag']}"})
    assert either.status_code == 204
    whatever = await client.put(ORDERS + "k", content=b"5", headers={"if-match": "*"})
    assert whatever.status_code == 204
    for wrong in ('"9-9", "9-8"', f"W/{whatever.headers['etag']}", '"no-version"'):
        problem(await client.put(ORDERS + "k", content=b"6", headers={"if-match": wrong}), 412, "precondition-failed")
    problem(await client.put(ORDERS + "new", content=b"6", headers={"if-match": "*"}), 412, "precondition-failed")
    problem(await client.put(ORDERS + "new", content=b"6", headers={"if-match": '"1-1"'}), 412, "version-conflict")
    assert (await client.get(ORDERS + "k")).content == b"5"


async def test_add_writes_once(client: httpx.AsyncClient) -> None:
    first = await client.put(ORDERS + "k", content=b"1", headers={"if-none-match": "*"})
    assert first.status_code == 201
    again = await client.put(ORDERS + "k", content=b"2", headers={"if-none-match": "*"})
    assert problem(again, 412, "version-conflict")["current"] == first.headers["x-daycache-version"]
    assert (await client.get(ORDERS + "k")).content == b"1"


@pytest.mark.parametrize(
    "headers",
    [
        {"if-match": "1-1"},
        {"if-match": ""},
        {"if-match": '"a" "b"'},
        {"if-none-match": '"1-1"'},
        {"if-match": "*", "if-none-match": "*"},
    ],
)
async def test_conditions_that_are_none(
    client: httpx.AsyncClient, cluster: FakeCluster, headers: dict[str, str]
) -> None:
    problem(await client.put(ORDERS + "k", content=b"1", headers=headers), 400, "invalid-argument")
    assert not cluster.entries


async def test_delete_takes_no_condition(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    await store(cluster, "k", 1)
    problem(await client.delete(ORDERS + "k", headers={"if-match": '"1-9"'}), 400, "invalid-argument")
    assert cluster.entries


async def test_time_to_live(client: httpx.AsyncClient) -> None:
    for options in ({"params": {"ttl_s": "60"}}, {"headers": {"x-daycache-ttl": "60"}}):
        await client.put(ORDERS + "k", content=b"", **options)  # type: ignore[arg-type]
        read = await client.get(ORDERS + "k")
        assert float(read.headers["x-daycache-expires-at"]) == NOW_S + 60
        assert read.headers["expires"] == "Fri, 15 Jan 2027 08:01:00 GMT"
    await client.put(ORDERS + "k", content=b"")
    assert "expires" not in (await client.get(ORDERS + "k")).headers
    short = "/v1/regions/short/entries/k"
    await client.put(short, content=b"")
    assert "expires" in (await client.get(short)).headers
    await client.put(short + "?ttl_s=never", content=b"")
    assert "expires" not in (await client.get(short)).headers
    for wrong in ("0", "-1", "nan", "inf", "1e12", "soon", ""):
        problem(await client.put(ORDERS + "k", content=b"", params={"ttl_s": wrong}), 422, "invalid-ttl")
    await client.put(ORDERS + "k?ttl_s=1", content=b"", headers={"x-daycache-ttl": "2"})
    assert float((await client.get(ORDERS + "k")).headers["x-daycache-expires-at"]) == NOW_S + 1


async def test_levels_and_deadlines(client: httpx.AsyncClient) -> None:
    weak = await client.put(ORDERS + "k?level=weak", content=b"1")
    assert (weak.status_code, "etag" in weak.headers) == (202, False)
    read = await client.get(ORDERS + "k", headers={"x-daycache-level": "strong"})
    assert read.headers["x-daycache-level"] == "strong"
    assert read.headers["x-daycache-served-by"] == "memory"
    assert read.headers["age"] == "0"
    assert read.headers["vary"] == "Accept"
    problem(await client.get(ORDERS + "k?level=total"), 400, "unknown-level")
    assert (await client.get(ORDERS + "k?deadline_s=1.5")).status_code == 200
    for wrong in ("0", "-1", "nan", "31", "soon"):
        problem(await client.get(ORDERS + "k", params={"deadline_s": wrong}), 400, "invalid-argument")


async def test_services_do_not_meet(client: httpx.AsyncClient) -> None:
    await client.put(ORDERS + "k?service=a", content=b"of a")
    await client.put(ORDERS + "k", content=b"of b", headers={"x-daycache-service": "b"})
    assert (await client.get(ORDERS + "k", headers={"x-daycache-service": "a"})).content == b"of a"
    assert (await client.get(ORDERS + "k?service=b")).content == b"of b"
    problem(await client.get(ORDERS + "k"), 404, "key-not-found")
    problem(await client.get(ORDERS + "k", params={"service": "x" * 65}), 400, "invalid-argument")


async def test_many_at_once(client: httpx.AsyncClient, cluster: FakeCluster) -> None:
    path = "/v1/regions/orders/entries:batchGet"
    for key, value in {"j": {"a": (1,)}, "b": b"\xff", "n": None, "s": {1}, "big": 2**70, "nan": float("nan")}.items():
        await store(cluster, key, value)
    answer = await client.post(path, json={"keys": ["j", "no", "b", "n", "j", "s", "big", "nan"]})
    items = answer.json()["entries"]
    assert items[:4] == [
        {"key": "j", "found": True, "value": {"a": [1]}},
        {"key": "no", "found": False},
        {"key": "b", "found": True, "media_type": "application/octet-stream", "base64": "/w=="},
        {"key": "n", "found": True, "value": None},
    ]
    assert items[4]["problem"]["status"] == 406
    assert items[5] == {"key": "big", "found": True, "value": 2**70}
    assert items[6]["problem"]["status"] == 406
    assert (await client.post(path, json={"keys": []})).json() == {"entries": []}
    for wrong in ({"keys": "a"}, {}, {"keys": [1]}, {"keys": ["a"], "more": 1}, {"keys": ["k"] * 10_001}):
        problem(await client.post(path, json=wrong), 400, "invalid-argument")
    problem(await client.post(path, content=b"{"), 400, "invalid-argument")
    problem(await client.post(path, json={"keys": [""]}), 400, "invalid-key")
    problem(await client.post("/v1/regions/nope/entries:batchGet", json={"keys": []}), 404, "unknown-region")


async def test_keys_below_a_route_prefix(cluster: FakeCluster) -> None:
    """A second cluster's door lies below a prefix; the undecoded path has it, too."""
    api = create_api(cluster.cache, cluster.cluster_map)
    transport = httpx.ASGITransport(api, root_path="/second")
    async with httpx.AsyncClient(transport=transport, base_url="http://daycache/second") as client:
        assert (await client.put(ORDERS + "a%2F%FF", content=b"v")).status_code == 204
        assert [place[2] for place in cluster.entries] == [b"a/\xff"]
        refused = await client.post(ORDERS + "k")
        assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, HEAD, PUT")
