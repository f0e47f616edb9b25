"""SqlWriter on SQLite: upserts, deletes, one transaction a call, and whose fault a failure is."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from daycache_ray import MISSING, ConfigError, PermanentWriteError, SqlWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "shop.sqlite"
    connection = sqlite3.connect(found)
    connection.execute("create table orders (id integer primary key, amount real not null, note text)")
    connection.commit()
    connection.close()
    return found


def rows(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("select id, amount, note from orders order by id").fetchall()
    finally:
        connection.close()


def a_writer(path: Path, **fields: Any) -> SqlWriter:
    given = {"table": "orders", "key_column": "id", "key_type": int, "value_columns": ("amount", "note"), **fields}
    return SqlWriter(f"sqlite:///{path}", **given)


def test_upserts_and_deletes_are_one_transaction_and_may_be_repeated(path: Path) -> None:
    writer = pickle.loads(pickle.dumps(a_writer(path)))
    for _ in range(2):
        writer.write_many({"1": {"amount": 1.5, "note": "a"}, "2": {"amount": 2.5}, "3": MISSING})
    assert rows(path) == [(1, 1.5, "a"), (2, 2.5, None)]
    writer.write_many({"1": MISSING, "2": {"amount": 3.5, "note": "b"}})
    assert rows(path) == [(2, 3.5, "b")]
    with pytest.raises(PermanentWriteError, match="IntegrityError"):
        writer.write_many({"7": {"amount": 1.0}, "8": {"note": "no amount"}})
    assert rows(path) == [(2, 3.5, "b")]
    writer.close()


def test_what_no_repetition_helps_is_permanent(path: Path) -> None:
    writer = a_writer(path)
    with pytest.raises(PermanentWriteError, match="takes no key"):
        writer.write_many({"seven": {"amount": 1.0}})
    with pytest.raises(PermanentWriteError, match="takes dicts"):
        writer.write_many({"7": 1.0})
    writer.close()


def test_a_database_that_cannot_be_opened_is_worth_another_try(tmp_path: Path) -> None:
    writer = a_writer(tmp_path / "no" / "such" / "folder.sqlite")
    with pytest.raises(sqlalchemy.exc.OperationalError):
        writer.write_many({"1": {"amount": 1.0}})
    writer.close()


def test_arguments_that_cannot_be(path: Path) -> None:
    with pytest.raises(ConfigError, match="either value_column"):
        a_writer(path, value_columns=())
    with pytest.raises(ConfigError, match="none of"):
        SqlWriter("mysql+pymysql://db/shop", table="orders", key_column="id", value_column="amount")
