"""Values out of a relational database, through SQLAlchemy: one row per key, single or in batches.

It refuses to know the cache: it is a Loader and a BatchLoader like any user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from daycache_ray.origins.sql_database import SqlDatabase
from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING

KEYS_PER_QUERY: Final = 500
"""Keys in one IN list: SQLite takes 999 parameters by default in old builds, and planners like short lists."""


class SqlLoader(SqlDatabase):
    """Loads values from a table, or with queries of your own; hand it to a region as `loader`.

    The engine and its pool are made in each process on the first load, so the loader may be pickled and may cross a
    fork. A value is one column's (`value_column`), or a dict of `value_columns`. With a `query` and neither of the
    two, a row of one column is its value, a row of several a dict; the first row counts.

    Args:
        url: SQLAlchemy URL of a synchronous driver, such as "postgresql+psycopg://user:password@host/database".
        table: name of the table or view; `schema` its schema where it is not the default one.
        key_column: the column that holds the key; with `batch_query` the one of its result that does.
        value_column: the column whose content is the value.
        value_columns: the columns of the dict that is the value.
        query: SQL with `:key`, in place of `table`.
        batch_query: SQL with `IN :keys` that loads many; without it, a `query` is asked once per key.
        key_type: turns the cache's key into the column's type (int, uuid.UUID); a key that it refuses with a
            ValueError is one that the database does not have.
        engine_options: further arguments for sqlalchemy.create_engine, such as {"pool_size": 10}.

    Raises:
        ConfigError: the arguments say too little, too much, or are not SQLAlchemy's.

    >>> SqlLoader("postgresql+psycopg://app:secret@db/shop", table="prices", key_column="symbol", value_column="price")
    <SqlLoader prices by symbol, postgresql+psycopg://app:***@db/shop>
    """

    def __init__(
        self,
        url: str | sa.URL,
        *,
        table: str | None = None,
        schema: str | None = None,
        key_column: str | None = None,
        value_column: str | None = None,
        value_columns: Sequence[str] = (),
        query: str | None = None,
        batch_query: str | None = None,
        key_type: Callable[[str], Any] = str,
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(url, "SqlLoader", engine_options)
        self._table, self._schema, self._key_column = table, schema, key_column
        self._value_column, self._value_columns = value_column, tuple(value_columns)
        self._query, self._batch_query = query, batch_query
        self._key_type = key_type
        self._check()
        self._one, self._many = self._statements()

    def load(self, key: str) -> Any:
        """Return the key's value, or MISSING where there is no row; raises LoadError with SQLAlchemy's as its cause."""
        try:
            wanted = self._key_type(key)
        except ValueError:
            return MISSING
        try:
            with self._engine().connect() as connection:
                row = connection.execute(self._one, {"key": wanted}).mappings().first()
        except Exception as error:
            raise self._failure(error) from error
        return MISSING if row is None else self._value_of(row)

    def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those keys that have a row; raises LoadError with SQLAlchemy's as its cause."""
        wanted: dict[Any, list[str]] = {}
        for key in keys:
            try:
                wanted.setdefault(self._key_type(key), []).append(key)
            except ValueError:
                pass
        if not wanted:
            return {}
        try:
            with self._engine().connect() as connection:
                rows = self._rows(connection, list(wanted))
        except Exception as error:
            raise self._failure(error) from error
        return {key: self._value_of(rows[asked]) for asked, same in wanted.items() if asked in rows for key in same}

    def _rows(self, connection: sa.Connection, wanted: list[Any]) -> dict[Any, sa.RowMapping]:
        """Return the first row of each key that has one."""
        rows: dict[Any, sa.RowMapping] = {}
        if self._many is not None and self._key_column is not None:
            for start in range(0, len(wanted), KEYS_PER_QUERY):
                result = connection.execute(self._many, {"keys": wanted[start : start + KEYS_PER_QUERY]})
                for row in result.mappings():
                    rows.setdefault(row[self._key_column], row)
            wanted = _asked_again(wanted, set(rows))
        for key in wanted:
            row_or_none = connection.execute(self._one, {"key": key}).mappings().first()
            if row_or_none is not None:
                rows[key] = row_or_none
        return rows

    def _value_of(self, row: sa.RowMapping) -> Any:
        if self._value_column is not None:
            return row[self._value_column]
        names = self._value_columns or tuple(name for name in row if not self._batch_query or name != self._key_column)
        if self._value_columns or len(names) > 1:
            return {name: row[name] for name in names}
        return row[names[0]]

    def _statements(self) -> tuple[sa.Executable, sa.Executable | None]:
        if self._query is not None:
            many = None
            if self._batch_query is not None:
                many = sa.text(self._batch_query).bindparams(sa.bindparam("keys", expanding=True))
            return sa.text(self._query), many
        assert self._table is not None
        assert self._key_column is not None
        names = dict.fromkeys([self._key_column, self._value_column or self._key_column, *self._value_columns])
        table = sa.table(self._table, *(sa.column(name) for name in names), schema=self._schema)
        key = table.c[self._key_column]
        rows = sa.select(*table.c)
        return rows.where(key == sa.bindparam("key")), rows.where(key.in_(sa.bindparam("keys", expanding=True)))

    def _check(self) -> None:
        if (self._table is None) == (self._query is None):
            raise ConfigError("SqlLoader: write either table= with key_column=, or query= with ':key' in it")
        if self._value_column is not None and self._value_columns:
            raise ConfigError("SqlLoader: write either value_column= or value_columns=, not both")
        if self._table is not None:
            if self._key_column is None or not (self._value_column or self._value_columns):
                raise ConfigError("SqlLoader: table= needs key_column=, and value_column= or value_columns=")
            if self._batch_query is not None:
                raise ConfigError("SqlLoader: batch_query= belongs to query=; a table's batches need none")
            return
        if self._schema is not None:
            raise ConfigError("SqlLoader: schema= belongs to table=; name it in the query")
        if self._query is not None and "key" not in _parameters_of(self._query):
            raise ConfigError(
                "SqlLoader: query= must hold ':key', such as 'select price from prices where symbol = :key'"
            )
        if self._batch_query is None:
            if self._key_column is not None:
                raise ConfigError("SqlLoader: key_column= belongs to table= or batch_query=")
        elif self._key_column is None or "keys" not in _parameters_of(self._batch_query):
            raise ConfigError(
                "SqlLoader: batch_query= must hold ':keys', such as 'select symbol, price from prices where symbol in "
                ":keys', and key_column= names the column of its result that holds the key"
            )

    def _failure(self, error: Exception) -> LoadError:
        return LoadError(f"{self!r} failed with {self._text(error)}")

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_one": None, "_many": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._one, self._many = self._statements()

    def __repr__(self) -> str:
        what = f"{self._table} by {self._key_column}" if self._table else "with a query"
        return f"<SqlLoader {what}, {self._shown_url()}>"


def _asked_again(wanted: list[Any], found: set[Any]) -> list[Any]:
    """Return the keys that a batch did not find but a single question may.

    A database calls equal what Python does not: padded CHAR, collations without case. It shows as a row nobody asked
    for, or as a row whose key differs from a missing one only in case or spaces.
    """
    missing = [key for key in wanted if key not in found]
    if not found <= set(wanted):
        return missing
    near = {str(key).strip().casefold() for key in found}
    return [key for key in missing if str(key).strip().casefold() in near]


def _parameters_of(query: str) -> set[str]:
    return set(sa.text(query).compile().params)
