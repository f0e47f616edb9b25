"""The loaders of files and Parquet on this disk, and what all ready-made loaders refuse."""

from __future__ import annotations

import datetime
import pickle
import sys
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daycache_ray as daycache
from daycache_ray.origins.extras import extra_module
from daycache_ray.origins.files import FileLoader
from daycache_ray.origins.http import HttpLoader
from daycache_ray.origins.loading import resolve_loader
from daycache_ray.origins.parquet import ParquetLoader
from daycache_ray.origins.redis import RedisLoader
from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING, BatchLoader, Loader
from tests.house.tree import ROOT


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_files(tmp_path: Path, scheme: str) -> None:
    folder = f"memory://{tmp_path.name}" if scheme == "memory" else str(tmp_path)
    with fsspec.open(f"{folder}/a.json", "wb") as file:
        file.write(b'{"price": 150.25}')
    loader = FileLoader(folder + "/{key}.json", content="json")
    assert loader.load("a") == {"price": 150.25}
    assert loader.load("nope") is MISSING
    assert loader.load_many(["a", "nope", "a/b"]) == {"a": {"price": 150.25}}
    assert FileLoader(folder + "/{key}").load("a.json") == b'{"price": 150.25}'
    assert FileLoader(folder + "/{key}", content="text").load("a.json") == '{"price": 150.25}'
    assert pickle.loads(pickle.dumps(loader)).load("a") == {"price": 150.25}
    assert resolve_loader(loader).is_batched


@pytest.mark.parametrize(
    "key", ["../secret", "..", ".", "/etc/passwd", "a//b", "a/../../secret", "a\0b", "", "*", "s?cret2"]
)
def test_no_key_leaves_the_folder_or_is_a_pattern(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_bytes(b"not yours")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "secret2").write_bytes(b"a file")
    assert FileLoader(f"{tmp_path}/in/{{key}}").load(key) is MISSING


def test_a_folder_is_no_value_and_bad_content_says_so(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "bad").write_bytes(b"\xff{")
    assert FileLoader(f"{tmp_path}/{{key}}").load("folder") is MISSING
    with pytest.raises(LoadError, match="content="):
        FileLoader(f"{tmp_path}/{{key}}", content="json").load("folder/bad")


def test_a_file_that_cannot_be_opened_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(LoadError, match="OSError"):
        FileLoader(f"{tmp_path}/{{key}}").load("loop")


def _parquet(tmp_path: Path) -> str:
    days = [datetime.date(2025, 1, day) for day in (1, 2, 3, 3)]
    table = pa.table({"symbol": ["a", "b", "c", "c"], "price": [1.0, None, 3.0, 4.0], "day": days, "n": [1, 2, 3, 3]})
    pq.write_table(table, tmp_path / "one.parquet", row_group_size=2)
    return str(tmp_path)


def test_parquet(tmp_path: Path) -> None:
    path = _parquet(tmp_path)
    loader = ParquetLoader(path, key_column="symbol", value_column="price")
    assert loader.load("a") == 1.0
    assert loader.load("b") is None
    assert loader.load("x") is MISSING
    assert loader.load_many(["c", "x", "a"]) == {"c": 3.0, "a": 1.0}
    row = ParquetLoader(path, key_column="n", value_columns=["symbol", "day"], key_type=int)
    assert row.load_many(["1", "one"]) == {"1": {"symbol": "a", "day": datetime.date(2025, 1, 1)}}
    by_day = ParquetLoader(path, key_column="day", value_column="n", key_type=datetime.date.fromisoformat)
    assert by_day.load("2025-01-02") == 2
    pq.write_table(pa.table({"symbol": ["new"], "price": [9.0]}), tmp_path / "two.parquet")
    assert pickle.loads(pickle.dumps(loader)).load("new") == 9.0


def test_parquet_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="FileNotFoundError"):
        ParquetLoader(f"{tmp_path}/none", key_column="k", value_column="v").load("a")
    with pytest.raises(LoadError, match="nope"):
        ParquetLoader(_parquet(tmp_path), key_column="nope", value_column="price").load("a")


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: HttpLoader("https://host/prices"), "{key}"),
        (lambda: HttpLoader("ftp://host/{key}"), "http"),
        (lambda: HttpLoader("https://host/{key}", batch_url="https://host/"), "{keys}"),
        (lambda: HttpLoader("https://host/{key}", body="xml"), "json"),
        (lambda: HttpLoader("https://host/{key}", deadline_s=0), "above 0"),
        (lambda: HttpLoader("https://host/{key}", concurrency_max=0), "from 1"),
        (lambda: RedisLoader("localhost:6379"), "redis://"),
        (lambda: RedisLoader("redis://h", key="price"), "{key}"),
        (lambda: RedisLoader("redis://h", value="json"), "'str'"),
        (lambda: RedisLoader("redis://h", deadline_s=-1), "above 0"),
        (lambda: FileLoader("s3://bucket/"), "{key}"),
        (lambda: FileLoader("/data/{key}", content="xml"), "json"),
        (lambda: FileLoader("nosuch://x/{key}").load("a"), "opened"),
        (lambda: ParquetLoader("/x", key_column="k"), "value_column"),
        (lambda: ParquetLoader("/x", key_column="k", value_column="a", value_columns=["b"]), "value_column"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(make: Any, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy.replace("{", r"\{")):
        make()


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [
        (lambda: RedisLoader("redis://h").load("a"), "redis", "redis"),
        (lambda: FileLoader("/x/{key}").load("a"), "fsspec", "files"),
        (lambda: resolve_loader(HttpLoader("http://h/{key}")).load("a"), "httpx", "http"),
    ],
)
def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, make: Any, module: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises((ConfigError, LoadError), match=rf"needs {module}: pip install 'daycache-ray\[{extra}\]'"):
        make()
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text("utf-8")


def test_a_module_that_fails_inside_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_extra_of_ours.py").write_text("import no_such_thing_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_thing_at_all"):
        extra_module("broken_extra_of_ours", extra="http", loader="HttpLoader")


def test_secrets_stay_out_of_what_is_printed() -> None:
    for loader in (
        HttpLoader("https://app:s3cret@host/{key}?token=s3cret"),
        RedisLoader("redis://app:s3cret@host/0"),
        FileLoader("ftp://app:s3cret@host/{key}"),
    ):
        assert "s3cret" not in repr(loader)
        assert "host" in repr(loader)


def test_all_are_loaders_and_in_the_window() -> None:
    for loader in (
        daycache.HttpLoader("http://h/{key}"),
        daycache.RedisLoader("redis://h"),
        daycache.FileLoader("/x/{key}"),
        daycache.ParquetLoader("/x", key_column="k", value_column="v"),
    ):
        assert isinstance(loader, Loader)
        assert isinstance(loader, BatchLoader)
