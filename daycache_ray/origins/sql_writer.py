"""Values into a table of a relational database, through SQLAlchemy: upserts and deletes, a transaction per call.

It refuses to know the cache: it is a BatchWriter like any user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from daycache_ray.origins.sql_database import SqlDatabase
from daycache_ray.words.errors import ConfigError, PermanentWriteError
from daycache_ray.words.ports import MISSING

DIALECTS: Final = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}

PERMANENT: Final = (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError, sa.exc.StatementError)
"""Errors of the statement or its values. OperationalError and what else a driver says of its server is none of them."""


class SqlWriter(SqlDatabase):
    """Writes values to a table that has a unique key column; hand it to a region as `writer`.

    A call is one transaction: all of its values or none. Doing it again changes nothing, as write-behind needs it.
    The engine is made in each process on the first write, so the writer may be pickled and may cross a fork.

    Args:
        url: SQLAlchemy URL of a synchronous driver of SQLite or PostgreSQL.
        table: name of the table; `schema` its schema where it is not the default one.
        key_column: the column that holds the key: a primary key, or with a unique constraint.
        value_column: the column that takes the value.
        value_columns: the columns that take a value that is a dict; what it lacks becomes NULL.
        key_type: turns the cache's key into the column's type (int, uuid.UUID).
        engine_options: further arguments for sqlalchemy.create_engine, such as {"pool_size": 10}.

    Raises:
        ConfigError: the arguments say too little, too much, or name another kind of database.

    >>> SqlWriter("postgresql+psycopg://app:secret@db/shop", table="prices", key_column="symbol", value_column="price")
    <SqlWriter prices by symbol, postgresql+psycopg://app:***@db/shop>
    """

    def __init__(
        self,
        url: str | sa.URL,
        *,
        table: str,
        key_column: str,
        value_column: str | None = None,
        value_columns: Sequence[str] = (),
        schema: str | None = None,
        key_type: Callable[[str], Any] = str,
        engine_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(url, "SqlWriter", engine_options)
        self._dialect = self._url.get_backend_name()
        if self._dialect not in DIALECTS:
            raise ConfigError(
                f"SqlWriter: '{self._dialect}' is none of {', '.join(DIALECTS)}; give a callable that writes it"
            )
        if (value_column is None) == (not value_columns):
            raise ConfigError("SqlWriter: write either value_column= or value_columns=")
        self._table, self._schema, self._key_column = table, schema, key_column
        self._value_column, self._value_columns = value_column, tuple(value_columns)
        self._key_type = key_type

    def write_many(self, values: Mapping[str, Any]) -> None:
        """Upsert `values`, and delete the keys whose value is MISSING, in one transaction.

        Raises:
            PermanentWriteError: the database refuses a value or the statement itself.
            sqlalchemy.exc.SQLAlchemyError: it does not answer; trying again may help.
        """
        rows, gone = self._rows(values)
        names = [self._key_column, *([self._value_column] if self._value_column else self._value_columns)]
        table = sa.table(self._table, *(sa.column(name) for name in names), schema=self._schema)
        key = table.c[self._key_column]
        upsert: Any = DIALECTS[self._dialect](table)
        upsert = upsert.on_conflict_do_update(
            index_elements=[key], set_={name: upsert.excluded[name] for name in names[1:]}
        )
        try:
            with self._engine().begin() as connection:
                if rows:
                    connection.execute(upsert, rows)
                if gone:
                    connection.execute(sa.delete(table).where(key == sa.bindparam("gone")), gone)
        except PERMANENT as error:
            if isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)):
                raise
            raise PermanentWriteError(f"{self!r} failed with {self._text(error)}") from error

    def _rows(self, values: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        rows, gone = [], []
        for text, value in values.items():
            try:
                key = self._key_type(text)
            except ValueError as error:
                raise PermanentWriteError(f"{self!r} takes no key {text!r}: {error}") from error
            if value is MISSING:
                gone.append({"gone": key})
            elif self._value_column is not None:
                rows.append({self._key_column: key, self._value_column: value})
            elif isinstance(value, Mapping):
                rows.append({self._key_column: key, **{name: value.get(name) for name in self._value_columns}})
            else:
                raise PermanentWriteError(f"{self!r} takes dicts, and {text!r} has a {type(value).__name__}")
        return rows, gone

    def __repr__(self) -> str:
        return f"<SqlWriter {self._table} by {self._key_column}, {self._shown_url()}>"
