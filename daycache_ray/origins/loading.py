"""One loader out of the many shapes in which a user may give one.

A callable, a Loader, a BatchLoader or 'package.module:name', plain or async, becomes a `KeyLoader` that loads one
key or many, from a thread or from an event loop. It refuses to know deadlines, fill leases and where values go.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from daycache_ray.origins.sealed import SealedLoader
from daycache_ray.words.errors import ConfigError, LoadCycleError, LoadError
from daycache_ray.words.ports import MISSING


class KeyLoader:
    """What every shape of loader becomes: `load` and `load_many` for threads, `aload` and `aload_many` for loops.

    Whatever the loader raises arrives as LoadError with the loader's error as `__cause__`. An async loader called from
    a thread runs on one event loop of its own per process, so that its connection pools live on; a plain one called
    from an event loop runs in a thread, so that it does not hold the loop up.
    """

    __slots__ = ("_load", "_load_many", "_name")

    def __init__(self, name: str, load: Callable[..., Any] | None, load_many: Callable[..., Any] | None) -> None:
        assert load is not None or load_many is not None
        self._name = name
        self._load = load
        self._load_many = load_many

    @property
    def is_batched(self) -> bool:
        """Whether many keys cost one question to the origin."""
        return self._load_many is not None

    def load(self, key: str) -> Any:
        """Return the key's value, or MISSING; raises LoadError."""
        if self._load is None:
            return self.load_many([key]).get(key, MISSING)
        try:
            return finish_async(self._load(key))
        except (LoadError, LoadCycleError):
            raise
        except Exception as error:
            raise self._failure(repr(key), error) from error

    def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return what the origin has of `keys`, one by one where the loader takes no batches; raises LoadError."""
        if self._load_many is None:
            if is_coroutine_function(self._load):
                return finish_async(self.aload_many(keys))  # type: ignore[no-any-return]
            return self._found(keys, {key: self.load(key) for key in keys})
        try:
            answer = finish_async(self._load_many(list(keys)))
        except (LoadError, LoadCycleError):
            raise
        except Exception as error:
            raise self._failure(f"{len(keys)} keys", error) from error
        return self._found(keys, answer)

    async def aload(self, key: str) -> Any:
        """Return the key's value, or MISSING, without holding the event loop up; raises LoadError."""
        if self._load is None:
            return (await self.aload_many([key])).get(key, MISSING)
        try:
            return await self._call(self._load, key)
        except (LoadError, LoadCycleError):
            raise
        except Exception as error:
            raise self._failure(repr(key), error) from error

    async def aload_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return what the origin has of `keys`; an async loader without batches gets all at once. Raises LoadError."""
        if self._load_many is None:
            if not is_coroutine_function(self._load):
                return await asyncio.to_thread(self.load_many, keys)
            return self._found(keys, dict(zip(keys, await asyncio.gather(*map(self.aload, keys)), strict=True)))
        try:
            answer = await self._call(self._load_many, list(keys))
        except (LoadError, LoadCycleError):
            raise
        except Exception as error:
            raise self._failure(f"{len(keys)} keys", error) from error
        return self._found(keys, answer)

    async def _call(self, call: Callable[..., Any], argument: Any) -> Any:
        answer = call(argument) if is_coroutine_function(call) else await asyncio.to_thread(call, argument)
        return await answer if inspect.isawaitable(answer) else answer

    def _found(self, keys: Sequence[str], answer: Any) -> dict[str, Any]:
        if not isinstance(answer, Mapping):
            raise LoadError(
                f"the loader {self._name} returned a {type(answer).__name__} for {len(keys)} keys; "
                "load_many returns a mapping of those that the origin has"
            )
        found = {key: answer[key] for key in keys if answer.get(key, MISSING) is not MISSING}
        if answer and keys and not any(key in answer for key in keys):
            other = next(iter(answer))
            raise LoadError(
                f"the loader {self._name} was asked for {keys[0]!r} and returned {other!r}, a "
                f"{type(other).__name__}; load_many returns a mapping whose keys are those that it was given"
            )
        return found

    def _failure(self, what: str, error: Exception) -> LoadError:
        return LoadError(f"the loader {self._name} raised {type(error).__name__} for {what}: {error}")

    def __repr__(self) -> str:
        return f"<KeyLoader {self._name}{', in batches' if self.is_batched else ''}>"


def resolve_loader(loader: Any) -> KeyLoader:
    """Return what a user gave as a loader in the one shape that the cache uses.

    Args:
        loader: a callable of one key, an object with `load(key)` or `load_many(keys)` or both, or the place of such
            a thing as 'package.module:name'. Each may be async.

    Raises:
        ConfigError: it is none of these; the message says what was found and what to write.

    >>> resolve_loader(lambda key: key.upper()).load("aapl")
    'AAPL'
    """
    if isinstance(loader, KeyLoader):
        return loader
    if isinstance(loader, SealedLoader):
        try:
            return resolve_loader(loader.open())
        except Exception as error:
            raise ConfigError(
                f"loader: {type(error).__name__}: {error}; make its module importable where the cache loads"
            ) from error
    if isinstance(loader, str):
        return resolve_loader(_import(loader))
    if inspect.isclass(loader):
        raise ConfigError(
            f"loader: '{loader.__qualname__}' is a class; write {loader.__qualname__}(…), an instance of it"
        )
    load, load_many = getattr(loader, "load", None), getattr(loader, "load_many", None)
    if not callable(load) and not callable(load_many):
        load = loader
    if not callable(load) and not callable(load_many):
        raise ConfigError(
            f"loader: a {type(loader).__name__} loads nothing; write a callable of one key, an object with load(key) "
            "or load_many(keys), or 'package.module:name'"
        )
    found = [call if callable(call) else None for call in (load, load_many)]
    for call in found:
        _check_takes_one(call)
    return KeyLoader(_name_of(loader), *found)


def _import(place: str) -> Any:
    module_name, colon, path = place.partition(":")
    if not colon or not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise ConfigError(f"loader: '{place}' is no place of a loader; write 'package.module:name'")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"loader: '{module_name}' cannot be imported: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"loader: '{module_name}' has no '{path}'; write 'package.module:name' of what is there")
        found = getattr(found, part)
    if isinstance(found, str):
        raise ConfigError(f"loader: '{place}' is a text; write the place of the loader itself")
    return found


def _check_takes_one(call: Callable[..., Any] | None) -> None:
    try:
        signature = None if call is None else inspect.signature(call)
    except (TypeError, ValueError):
        return  # Some built-in callables do not say what they take.
    if signature is None:
        return
    try:
        signature.bind("key")
    except TypeError:
        raise ConfigError(f"loader: {_name_of(call)}{signature} must be callable with one argument, the key") from None


def is_coroutine_function(call: Any) -> bool:
    """Return whether a call of it must be awaited."""
    # An object with an async __call__ is one, too, though inspect says no.
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004


def _name_of(loader: Any) -> str:
    named = loader if hasattr(loader, "__qualname__") else type(loader)
    return f"'{named.__module__}:{named.__qualname__}'"


_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""The loop on which async loaders run that are called from threads, by process: a fork needs its own."""
_loops_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_loops={}, _loops_lock=threading.Lock()))


def finish_async(answer: Any) -> Any:
    """Return an answer, waited for on the loaders' own loop where it is awaitable."""
    if not inspect.isawaitable(answer):
        return answer
    loop = _loaders_loop()
    if asyncio._get_running_loop() is loop:
        if inspect.iscoroutine(answer):
            answer.close()
        raise RuntimeError("an async loader called something that waits for another async loader; await that instead")
    return asyncio.run_coroutine_threadsafe(_wait_for(answer), loop).result()


async def _wait_for(answer: Awaitable[Any]) -> Any:
    return await answer


def _loaders_loop() -> asyncio.AbstractEventLoop:
    with _loops_lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="daycache-loaders", daemon=True).start()
        return loop
