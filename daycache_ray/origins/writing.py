"""One writer out of the many shapes in which a user may give one.

A callable of key and value, a Writer, a BatchWriter or 'package.module:name', plain or async, becomes a `KeyWriter`
that writes many keys, from a thread or from an event loop. It refuses to know deadlines, queues and where values are.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from daycache_ray.origins.loading import finish_async, is_coroutine_function
from daycache_ray.origins.sealed import SealedLoader
from daycache_ray.words.errors import ConfigError, PermanentWriteError, WriteError


class KeyWriter:
    """What every shape of writer becomes: `write_many` for threads, `awrite_many` for loops.

    Values that are MISSING are deletes. Whatever the writer raises arrives as WriteError, or as PermanentWriteError
    where it raised that, with the writer's error as `__cause__`.
    """

    __slots__ = ("_name", "_write", "_write_many")

    def __init__(self, name: str, write: Callable[..., Any] | None, write_many: Callable[..., Any] | None) -> None:
        assert write is not None or write_many is not None
        self._name = name
        self._write = write
        self._write_many = write_many

    @property
    def is_batched(self) -> bool:
        """Whether many values are one call, which takes all of them or none."""
        return self._write_many is not None

    @property
    def is_async(self) -> bool:
        """Whether it is awaited on the caller's event loop."""
        return is_coroutine_function(self._write_many or self._write)

    def write_many(self, values: Mapping[str, Any]) -> None:
        """Write all of `values`, one by one in their order where the writer takes no batches."""
        try:
            if self._write_many is not None:
                finish_async(self._write_many(dict(values)))
                return
            assert self._write is not None
            for key, value in values.items():
                finish_async(self._write(key, value))
        except Exception as error:
            raise self._failure(values, error) from error

    async def awrite_many(self, values: Mapping[str, Any]) -> None:
        """Write all of `values` without holding the event loop up."""
        if not self.is_async:
            await asyncio.to_thread(self.write_many, values)
            return
        try:
            if self._write_many is not None:
                await self._write_many(dict(values))
                return
            assert self._write is not None
            for key, value in values.items():
                await self._write(key, value)
        except Exception as error:
            raise self._failure(values, error) from error

    def _failure(self, values: Mapping[str, Any], error: Exception) -> WriteError:
        kind = PermanentWriteError if isinstance(error, PermanentWriteError) else WriteError
        what = repr(next(iter(values))) if len(values) == 1 else f"{len(values)} keys"
        return kind(f"the writer {self._name} raised {type(error).__name__} for {what}: {error}")

    def __repr__(self) -> str:
        return f"<KeyWriter {self._name}{', in batches' if self._write_many is not None else ''}>"


def resolve_writer(writer: Any) -> KeyWriter:
    """Return what a user gave as a writer in the one shape that the cache uses.

    Args:
        writer: an object with `write(key, value)` or `write_many(values)` or both, a callable of key and value, or
            the place of such a thing as 'package.module:name'. Each may be async.

    Raises:
        ConfigError: it is none of these; the message says what was found and what to write.

    >>> table = {}
    >>> resolve_writer(table.__setitem__).write_many({"AAPL": 150.25})
    >>> table
    {'AAPL': 150.25}
    """
    if isinstance(writer, KeyWriter):
        return writer
    if isinstance(writer, SealedLoader):
        try:
            return resolve_writer(writer.open())
        except Exception as error:
            raise ConfigError(
                f"writer: {type(error).__name__}: {error}; make its module importable where the cache writes"
            ) from error
    if isinstance(writer, str):
        return resolve_writer(_import(writer))
    if inspect.isclass(writer):
        raise ConfigError(
            f"writer: '{writer.__qualname__}' is a class; write {writer.__qualname__}(…), an instance of it"
        )
    write, write_many = getattr(writer, "write", None), getattr(writer, "write_many", None)
    if not callable(write) and not callable(write_many):
        write = writer
    if not callable(write) and not callable(write_many):
        raise ConfigError(
            f"writer: a {type(writer).__name__} writes nothing; write an object with write(key, value) or "
            "write_many(values), a callable of key and value, or 'package.module:name'"
        )
    named = writer if hasattr(writer, "__qualname__") else type(writer)
    name = f"'{getattr(named, '__module__', 'builtins')}:{named.__qualname__}'"
    return KeyWriter(name, write if callable(write) else None, write_many if callable(write_many) else None)


def _import(place: str) -> Any:
    module_name, _, path = place.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ConfigError(f"writer: '{place}' cannot be imported: {type(error).__name__}: {error}") from error
    if isinstance(found, str):
        raise ConfigError(f"writer: '{place}' is a text; write the place of the writer itself")
    return found
