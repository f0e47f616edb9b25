"""SqlLoader over a real PostgreSQL: types, batches, threads, forks and a server that hangs up."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from daycache_ray.codecs.registry import decode, encode
from daycache_ray.origins.loading import resolve_loader
from daycache_ray.origins.sql import SqlLoader
from daycache_ray.words.errors import LoadError
from daycache_ray.words.ports import MISSING

pytestmark = pytest.mark.postgres
ID = uuid.UUID(int=7)


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("drop schema if exists market cascade"))
        connection.execute(sa.text("create schema market"))
        connection.execute(
            sa.text(
                "create table market.prices (symbol text primary key, code char(8), number bigint, id uuid, "
                "price numeric, at timestamptz, raw bytea, detail jsonb, levels float8[])"
            )
        )
        connection.execute(
            sa.text(
                "insert into market.prices values ('AAPL', 'AAPL', 1, :id, 150.250, '2026-01-02T03:04:05Z', "
                "'\\x00ff', '{\"a\": [1, null]}', '{1.5, 2.5}')"
            ),
            {"id": ID},
        )
        connection.execute(
            sa.text("insert into market.prices (symbol, number) select 'K' || i, i from generate_series(10, 1299) i")
        )
    engine.dispose()  # A test ends everybody else's connections.
    yield postgres_url
    with engine.begin() as connection:
        connection.execute(sa.text("drop schema market cascade"))
    engine.dispose()


def prices(url: str, **options: Any) -> SqlLoader:
    arguments = {"table": "prices", "schema": "market", "key_column": "symbol", "value_column": "price", **options}
    return SqlLoader(url, **arguments)


def test_types_arrive_and_can_be_stored(url: str) -> None:
    loader = prices(url, value_column=None, value_columns=["price", "at", "raw", "detail", "levels", "id", "number"])
    value = loader.load("AAPL")
    assert value["price"] == Decimal("150.250")
    assert value["at"] == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    assert (value["raw"], value["detail"], value["levels"]) == (b"\x00\xff", {"a": [1, None]}, [1.5, 2.5])
    assert (value["id"], value["number"]) == (ID, 1)
    assert decode(*encode(value)) == value
    loader.close()


def test_single_and_batched(url: str) -> None:
    loader = prices(url, value_column="number")
    assert loader.load("nope") is MISSING
    assert loader.load_many([f"K{i}" for i in range(1400)]) == {f"K{i}": i for i in range(10, 1300)}
    assert resolve_loader(loader).load_many(["K10", "nope"]) == {"K10": 10}
    loader.close()


@pytest.mark.parametrize(("column", "key_type", "key"), [("number", int, "1"), ("id", uuid.UUID, str(ID))])
def test_keys_of_the_columns_type(url: str, column: str, key_type: Any, key: str) -> None:
    loader = prices(url, key_column=column, value_column="symbol", key_type=key_type)
    assert loader.load(key) == "AAPL"
    assert loader.load_many([key, "nope"]) == {key: "AAPL"}
    loader.close()


def test_padded_columns_are_found_alone_and_in_batches(url: str) -> None:
    loader = prices(url, key_column="code", value_column="number")
    assert loader.load("AAPL") == 1
    assert loader.load_many(["AAPL", "nope"]) == {"AAPL": 1}
    loader.close()


def test_queries(url: str) -> None:
    loader = SqlLoader(
        url,
        query="select number from market.prices where symbol = :key",
        batch_query="select symbol, number from market.prices where symbol in :keys",
        key_column="symbol",
    )
    assert loader.load("K10") == 10
    assert loader.load_many(["K10", "K11", "nope"]) == {"K10": 10, "K11": 11}
    loader.close()


def test_many_threads_share_a_pool(url: str) -> None:
    loader = prices(url, value_column="number", engine_options={"pool_size": 2, "max_overflow": 0})
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(loader.load, [f"K{i}" for i in range(10, 60)])) == list(range(10, 60))
    assert loader._engine().pool.size() == 2
    loader.close()


def test_a_dropped_connection_is_replaced(url: str) -> None:
    loader = prices(url, value_column="number")
    assert loader.load("K10") == 10
    other = sa.create_engine(url)
    with other.begin() as connection:
        connection.execute(
            sa.text("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        )
    other.dispose()
    assert loader.load("K11") == 11
    loader.close()


def _load_in_child(loader: SqlLoader, answers: Any) -> None:
    answers.put(loader.load("K11"))
    loader.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_crosses_into_other_processes(url: str, method: str) -> None:
    loader = prices(url, value_column="number")
    assert loader.load("K10") == 10
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    child = context.Process(target=_load_in_child, args=(loader, answers))
    child.start()
    try:
        assert answers.get(timeout=60) == 11
        child.join(30)
        assert child.exitcode == 0
    finally:
        if child.is_alive():
            child.kill()
    # The child has not closed the parent's connection.
    assert loader.load("K12") == 12
    loader.close()


def test_a_server_that_is_not_there_is_a_load_error() -> None:
    loader = SqlLoader("postgresql+psycopg://app:s3cret@/x?host=/no/such/place", query="select 1 where '' = :key")
    with pytest.raises(LoadError, match="OperationalError") as caught:
        loader.load("a")
    assert "s3cret" not in str(caught.value)
