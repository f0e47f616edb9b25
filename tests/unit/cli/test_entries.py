"""`daycache get`, `set`, `delete`, `scan` beside a cache that is a dict."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from daycache_ray.cli import entries
from daycache_ray.cli.main import app
from daycache_ray.words.errors import ClusterNotFoundError, UnknownRegionError
from daycache_ray.words.types import CacheConsistencyLevel, Entry, Version


class DictRegion:
    """A region in one process."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.ttl_s: float | None = None

    def get_entry(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def set(self, key: str, value: Any, *, ttl_s: float | None = None) -> Version:
        version = Version(1, len(self.entries) + 1)
        self.ttl_s = ttl_s
        self.entries[key] = Entry(value, version, ttl_s, CacheConsistencyLevel.EVENTUAL, "memory", 0.0)
        return version

    def delete(self, key: str) -> bool:
        return self.entries.pop(key, None) is not None

    def scan(self, prefix: str) -> Iterator[str]:
        return (key for key in sorted(self.entries) if key.startswith(prefix))


class DictCache:
    """A cache with one region."""

    def __init__(self, region: DictRegion) -> None:
        self._region = region

    def region(self, name: str) -> DictRegion:
        if name != "orders":
            raise UnknownRegionError(f"there is no region '{name}'; there are orders")
        return self._region


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> DictRegion:
    region = DictRegion()

    @contextlib.contextmanager
    def connected(address: str | None, cluster: str, service: str) -> Iterator[DictCache]:
        if cluster == "gone":
            raise ClusterNotFoundError("no cluster 'gone' runs in this Ray cluster")
        yield DictCache(region)

    monkeypatch.setattr(entries, "connected", connected)
    return region


def run(*arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments), input=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_value_comes_back(region: DictRegion) -> None:
    assert run("set", "orders", "o1", "open", "--ttl-s", "5") == (0, "epoch 1, LSN 1\n", "")
    assert region.ttl_s == 5.0
    assert run("get", "orders", "o1") == (0, "open\n", "")
    assert run("delete", "orders", "o1") == (0, "deleted\n", "")
    assert run("delete", "orders", "o1") == (1, "there was no such entry\n", "")


def test_a_miss_is_silent_and_exit_code_1(region: DictRegion) -> None:
    assert run("get", "orders", "nope") == (1, "", "")
    code, out, _ = run("get", "orders", "nope", "--json")
    assert (code, json.loads(out)) == (1, {"found": False})


@pytest.mark.parametrize(
    ("form", "given", "kept", "shown"),
    [
        ("text", "1", "1", "1\n"),
        ("json", '{"a": [1, null]}', {"a": [1, None]}, '{"a": [1, null]}\n'),
        ("json", "3.5", 3.5, "3.5\n"),
        ("bytes", "raw", b"raw", "raw"),
    ],
)
def test_forms(region: DictRegion, form: str, given: str, kept: object, shown: str) -> None:
    run("set", "orders", "k", given, "--as", form)

    assert region.entries["k"].value == kept
    assert run("get", "orders", "k")[1] == shown


def test_standard_input(region: DictRegion) -> None:
    run("set", "orders", "k", "-", "--as", "bytes", stdin=b"\x00\xff")

    assert region.entries["k"].value == b"\x00\xff"
    assert json.loads(run("get", "orders", "k", "--json")[1])["value"] == {"base64": "AP8="}


def test_json_has_the_whole_entry(region: DictRegion) -> None:
    assert json.loads(run("set", "orders", "k", "v", "--json")[1]) == {"version": {"epoch": 1, "lsn": 1}}
    assert json.loads(run("get", "orders", "k", "--json")[1]) == {
        "found": True,
        "value": "v",
        "version": {"epoch": 1, "lsn": 1},
        "expires_at_s": None,
        "level": "eventual",
        "served_by": "memory",
        "staleness_bound_s": 0.0,
    }
    assert json.loads(run("delete", "orders", "k", "--json")[1]) == {"deleted": True}


def test_scan(region: DictRegion) -> None:
    for key in ("a1", "a2", "a3", "b1"):
        region.set(key, 0)

    assert run("scan", "orders", "a") == (0, "a1\na2\na3\n", "")
    assert json.loads(run("scan", "orders", "--json")[1]) == {"keys": ["a1", "a2", "a3", "b1"], "more": False}
    code, out, err = run("scan", "orders", "--limit", "2")
    assert (code, out) == (0, "a1\na2\n")
    assert "more than 2" in err


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("get", "nope", "k"), "UnknownRegionError", "there are orders"),
        (("get", "orders", "k", "--cluster", "gone"), "ClusterNotFoundError", "no cluster 'gone'"),
        (("set", "orders", "k", "{", "--as", "json"), "InvalidValueError", "--as says what it is"),
    ],
)
def test_mistakes_are_sentences(region: DictRegion, arguments: tuple[str, ...], error: str, said: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"{error}: ")
    assert said in err

    code, out, err = run(*arguments, "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["error"] == error
    assert said in json.loads(out)["message"]


def test_a_wrong_command_line_is_exit_code_2() -> None:
    assert run("get", "orders")[0] == 2
    assert run("frobnicate")[0] == 2
