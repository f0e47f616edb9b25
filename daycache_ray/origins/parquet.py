"""Values out of Parquet files, through pyarrow.dataset: one row per key, filters pushed down to row groups.

It refuses to know the cache: it is a Loader and a BatchLoader like any user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING


class ParquetLoader:
    """Loads values from a Parquet file or a folder of them; hand it to a region as `loader`.

    The files are listed anew for every question, so that new ones are seen; row groups whose statistics rule the keys
    out are not read, so files sorted by key answer fast. The first row of a key counts.

    Args:
        path: file, folder or list of files, local or in a URL that pyarrow knows (s3://, gs://, hdfs://).
        key_column: the column that holds the key.
        value_column: the column whose content is the value.
        value_columns: the columns of the dict that is the value.
        key_type: turns the cache's key into the column's type (int, datetime.date.fromisoformat); a key that it
            refuses with a ValueError is one that the files do not have.
        partitioning: as pyarrow.dataset.dataset takes it, such as "hive".

    Raises:
        ConfigError: the arguments say too little or too much.

    >>> ParquetLoader("s3://bucket/prices", key_column="symbol", value_column="price")
    <ParquetLoader s3://bucket/prices by symbol>
    """

    def __init__(
        self,
        path: str | Sequence[str],
        *,
        key_column: str,
        value_column: str | None = None,
        value_columns: Sequence[str] = (),
        key_type: Callable[[str], Any] = str,
        partitioning: Any = None,
    ) -> None:
        if (value_column is None) == (not value_columns):
            raise ConfigError("ParquetLoader: write either value_column= or value_columns=")
        self._path = path if isinstance(path, str) else list(path)
        self._key_column = key_column
        self._value_column, self._value_columns = value_column, tuple(value_columns)
        self._key_type = key_type
        self._partitioning = partitioning

    def load(self, key: str) -> Any:
        """Return the key's value, or MISSING; raises LoadError with pyarrow's error as its cause."""
        return self.load_many([key]).get(key, MISSING)

    def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those keys that have a row; raises as load."""
        wanted: dict[Any, list[str]] = {}
        for key in keys:
            try:
                wanted.setdefault(self._key_type(key), []).append(key)
            except ValueError:
                pass
        if not wanted:
            return {}
        try:
            rows = self._rows(list(wanted))
        except Exception as error:
            raise LoadError(f"{self!r} failed with {type(error).__name__}: {error}") from error
        return {key: rows[asked] for asked, same in wanted.items() if asked in rows for key in same}

    def _rows(self, wanted: list[Any]) -> dict[Any, Any]:
        dataset = ds.dataset(self._path, format="parquet", partitioning=self._partitioning)
        values = pa.array(wanted, dataset.schema.field(self._key_column).type)
        names = [self._value_column] if self._value_column is not None else list(self._value_columns)
        columns = list(dict.fromkeys([self._key_column, *names]))
        rows: dict[Any, Any] = {}
        for row in dataset.to_table(columns, filter=pc.field(self._key_column).isin(values)).to_pylist():
            value = row[self._value_column] if self._value_column is not None else {name: row[name] for name in names}
            rows.setdefault(row[self._key_column], value)
        return rows

    def __repr__(self) -> str:
        path = self._path if isinstance(self._path, str) else f"{len(self._path)} files"
        return f"<ParquetLoader {path} by {self._key_column}>"
