"""SqlLoader over SQLite: rows, batches, processes, and what it refuses."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from daycache_ray.origins.loading import resolve_loader
from daycache_ray.origins.sql import KEYS_PER_QUERY, SqlLoader
from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING, BatchLoader, Loader

SINGLE = "select price from prices where symbol = :key"


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "prices.db"
    with sqlite3.connect(path) as database:
        database.execute(
            'create table prices (symbol text collate nocase, price real, "odd name" text, number integer)'
        )
        database.executemany(
            "insert into prices values (?, ?, ?, ?)",
            [
                ("AAPL", 150.25, "apple", 1),
                ("MSFT", None, "soft", 2),
                *((f"K{i}", float(i), "", i) for i in range(10, 1300)),
            ],
        )
    database.close()
    return f"sqlite:///{path}"


def test_one_column_of_a_table(url: str) -> None:
    loader = SqlLoader(url, table="prices", key_column="symbol", value_column="price")
    assert loader.load("AAPL") == 150.25
    assert loader.load("MSFT") is None
    assert loader.load("nope") is MISSING
    assert loader.load_many(["AAPL", "nope", "MSFT"]) == {"AAPL": 150.25, "MSFT": None}
    assert loader.load_many([]) == {}
    assert isinstance(loader, Loader)
    assert isinstance(loader, BatchLoader)
    loader.close()
    assert loader.load("AAPL") == 150.25
    loader.close()


def test_several_columns_are_a_dict(url: str) -> None:
    loader = SqlLoader(url, table="prices", key_column="symbol", value_columns=["odd name", "symbol"])
    assert loader.load("AAPL") == {"odd name": "apple", "symbol": "AAPL"}
    assert loader.load_many(["AAPL"]) == {"AAPL": {"odd name": "apple", "symbol": "AAPL"}}
    one = SqlLoader(url, table="prices", key_column="symbol", value_columns=["price"])
    assert one.load("AAPL") == {"price": 150.25}
    loader.close()
    one.close()


def test_batches_longer_than_one_statement(url: str) -> None:
    loader = SqlLoader(url, table="prices", key_column="symbol", value_column="number")
    keys = [f"K{i}" for i in range(1400)]
    assert len(keys) > 2 * KEYS_PER_QUERY
    assert loader.load_many(keys) == {f"K{i}": i for i in range(10, 1300)}
    loader.close()


def test_one_statement_per_batch(url: str) -> None:
    statements: list[str] = []
    loader = SqlLoader(url, table="prices", key_column="symbol", value_column="price")
    sa.event.listen(loader._engine(), "before_cursor_execute", lambda *a: statements.append(a[2]))
    loader.load_many([f"K{i}" for i in range(100)])
    assert len(statements) == 1
    loader.close()


def test_equal_for_the_database_is_enough(url: str) -> None:
    """The column's collation ignores case: alone and in a batch, the same is found."""
    loader = SqlLoader(url, table="prices", key_column="symbol", value_column="price")
    assert loader.load("aapl") == 150.25
    assert loader.load_many(["aapl", "AAPL", "K10", "nope"]) == {"aapl": 150.25, "AAPL": 150.25, "K10": 10.0}
    loader.close()


def test_keys_of_another_type(url: str) -> None:
    loader = SqlLoader(url, table="prices", key_column="number", value_column="symbol", key_type=int)
    assert loader.load("1") == "AAPL"
    assert loader.load("one") is MISSING
    assert loader.load_many(["1", "01", "2", "x", "5"]) == {"1": "AAPL", "01": "AAPL", "2": "MSFT"}
    assert loader.load_many(["x"]) == {}
    loader.close()


def test_queries_of_ones_own(url: str) -> None:
    single = SqlLoader(url, query=SINGLE)
    assert single.load("AAPL") == 150.25
    assert single.load_many(["AAPL", "nope"]) == {"AAPL": 150.25}
    several = SqlLoader(url, query="select price, number as n from prices where symbol = :key")
    assert several.load("AAPL") == {"price": 150.25, "n": 1}
    batch = SqlLoader(
        url,
        query=SINGLE,
        batch_query="select symbol as s, price from prices where symbol in :keys",
        key_column="s",
    )
    assert batch.load("AAPL") == 150.25
    assert batch.load_many(["AAPL", "nope", "K10"]) == {"AAPL": 150.25, "K10": 10.0}
    for loader in (single, several, batch):
        loader.close()


def test_a_key_is_never_sql(url: str) -> None:
    loader = SqlLoader(url, table="prices", key_column="symbol", value_column="price")
    for key in ("'; drop table prices; --", '" or 1=1', "%"):
        assert loader.load(key) is MISSING
        assert loader.load_many([key]) == {}
    assert loader.load("AAPL") == 150.25
    loader.close()


def test_it_travels_without_its_connections(url: str) -> None:
    loader = SqlLoader(url, table="prices", key_column="symbol", value_column="price", engine_options={"echo": False})
    loader.load("AAPL")
    copy = pickle.loads(pickle.dumps(loader))
    assert not copy._engines
    assert copy.load("AAPL") == 150.25
    assert copy.load_many(["AAPL"]) == {"AAPL": 150.25}
    loader.close()
    copy.close()


def test_an_engine_belongs_to_one_process(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = SqlLoader(url, table="prices", key_column="symbol", value_column="price")
    parents = loader._engine()
    assert loader._engine() is parents
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert loader._engine() is not parents
    loader.close()
    parents.dispose()


def test_failures_name_their_cause(url: str) -> None:
    loader = SqlLoader(url, table="no_such", key_column="symbol", value_column="price")
    for call in (lambda: loader.load("a"), lambda: loader.load_many(["a"]), lambda: resolve_loader(loader).load("a")):
        with pytest.raises(LoadError, match="no_such") as caught:
            call()
        assert isinstance(caught.value.__cause__, sa.exc.OperationalError)
    loader.close()


def test_the_password_is_shown_nowhere() -> None:
    loader = SqlLoader("postgresql+psycopg://app:s3cret@127.0.0.1:1/db?sslpassword=s3cret", query=SINGLE)
    assert "s3cret" not in repr(loader)
    assert "s3cret" not in str(loader._failure(ValueError("password s3cret is wrong")))
    assert pickle.loads(pickle.dumps(loader))._url.password == "s3cret"
    with pytest.raises(ConfigError) as caught:
        SqlLoader("postgresql+psycopg:/app:s3cret@x", query=SINGLE)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({}, "either table="),
        ({"table": "t", "query": SINGLE}, "either table="),
        ({"table": "t"}, "key_column"),
        ({"table": "t", "key_column": "k"}, "value_column"),
        ({"table": "t", "key_column": "k", "value_column": "v", "value_columns": ["w"]}, "not both"),
        ({"table": "t", "key_column": "k", "value_column": "v", "batch_query": "select 1"}, "belongs to query"),
        ({"query": "select 1"}, ":key"),
        ({"query": SINGLE, "schema": "s"}, "schema"),
        ({"query": SINGLE, "key_column": "k"}, "belongs to"),
        ({"query": SINGLE, "batch_query": "select 1", "key_column": "k"}, ":keys"),
        ({"query": SINGLE, "batch_query": "select k from t where k in :keys"}, "key_column"),
    ],
)
def test_what_makes_no_loader_is_refused(arguments: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        SqlLoader("sqlite://", **arguments)


@pytest.mark.parametrize("url", ["", "nonsense", "nosuch://x", "postgresql+asyncpg://a@b/c", 7])
def test_urls_that_are_none_are_refused(url: Any) -> None:
    with pytest.raises(ConfigError, match="SqlLoader"):
        SqlLoader(url, query=SINGLE)
