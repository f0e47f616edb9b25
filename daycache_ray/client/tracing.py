"""`DAYCACHE_TRACE=1`: a line on standard error for each call of a region, with where it was served from.

Decided when a region is made, so that nothing of it is on the way where it is off. A traced region answers the same,
only slower: each read goes the way of `get_entry`, which knows its source. Scans and views are not traced.
"""

from __future__ import annotations

import functools
import inspect
import os
import reprlib
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from daycache_ray.client.node_reads import FAR
from daycache_ray.words.types import Entry, Version

R = TypeVar("R")

VARIABLE: Final = "DAYCACHE_TRACE"

_TRACED: Final = (
    "get", "get_entry", "get_many", "set", "set_many", "add", "delete", "exists", "touch", "ttl", "increment",
    "compare_and_set", "get_or_load", "get_or_load_many", "clear", "flush", "statistics",
)  # fmt: skip


def traced(region: R) -> R:
    """Return the region, which from now on tells its calls where the environment asks for it."""
    if os.environ.get(VARIABLE) == "1":
        _trace(region)
    return region


def _trace(region: Any) -> None:
    calls = {name: getattr(region, name) for name in _TRACED}
    get_entry = calls["get_entry"]
    is_async = inspect.iscoroutinefunction(get_entry)
    # Whoever would read memory past `get` is sent there.
    region.near_value = lambda key, default, level: FAR
    for name, call in calls.items():
        # `get` by way of `get_entry`, the same read with its source.
        inner = get_entry if name == "get" else call
        setattr(region, name, (_traced_async if is_async else _traced_call)(region, name, call, inner))


def _traced_call(region: Any, name: str, call: Callable[..., Any], inner: Callable[..., Any]) -> Any:
    @functools.wraps(call)
    def tell(*args: Any, **kwargs: Any) -> Any:
        args, default = _without_default(name, args, kwargs)
        line = Line(region, name, args)
        try:
            answer = inner(*args, **kwargs)
        except BaseException as error:
            line.write(f"raised {type(error).__name__}")
            raise
        line.write(line.outcome(answer))
        return _value(answer, default) if name == "get" else answer

    return tell


def _traced_async(region: Any, name: str, call: Callable[..., Any], inner: Callable[..., Any]) -> Any:
    @functools.wraps(call)
    async def tell(*args: Any, **kwargs: Any) -> Any:
        args, default = _without_default(name, args, kwargs)
        line = Line(region, name, args)
        try:
            answer = await inner(*args, **kwargs)
        except BaseException as error:
            line.write(f"raised {type(error).__name__}")
            raise
        line.write(line.outcome(answer))
        return _value(answer, default) if name == "get" else answer

    return tell


def _without_default(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    if name != "get":
        return args, None
    default = args[1] if len(args) > 1 else kwargs.pop("default", None)
    return (*args[:1], *args[2:]), default


def _value(entry: Entry | None, default: Any) -> Any:
    return default if entry is None else entry.value


class Line:
    """One call: what is asked, and what is told when it is over."""

    def __init__(self, region: Any, name: str, args: tuple[Any, ...]) -> None:
        self._region = region
        self._reads = region._core.reads
        self._sockets_count = self._reads.socket_reads_count
        self._reads_count = self._reads.hits_count + self._reads.misses_count
        subject = args[0] if args else ""
        is_one = isinstance(subject, (str, bytes))
        self._what = f"{name} {reprlib.repr(subject)}" if is_one and args else name
        if args and not is_one:
            self._what += f" {len(subject)} keys" if hasattr(subject, "__len__") else " keys"
        self._began_ns = time.perf_counter_ns()

    def outcome(self, answer: Any) -> str:
        """Return where the answer came from, and its version where it has one."""
        reads = self._reads
        sockets_count = reads.socket_reads_count - self._sockets_count
        memory_count = reads.hits_count + reads.misses_count - self._reads_count - sockets_count
        if isinstance(answer, Entry):
            return f"served_by={answer.served_by} version={_version(answer.version)}"
        if isinstance(answer, Version):
            return f"served_by={'primary' if answer.lsn else 'client'} version={_version(answer)}"
        if memory_count + sockets_count > 1:
            return f"served_by=memory:{memory_count},sockets:{sockets_count} version=-"
        return f"served_by={'memory' if memory_count > 0 else 'primary'} version=-"

    def write(self, outcome: str) -> None:
        """Tell it."""
        took_us = (time.perf_counter_ns() - self._began_ns) / 1e3
        sys.stderr.write(f"daycache {self._what} region={self._region.name} {outcome} {took_us:.1f} us\n")


def _version(version: Version) -> str:
    return f"{version.epoch}:{version.lsn}" if version.lsn else "-"
