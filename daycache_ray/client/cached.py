"""Functions whose results a region keeps: what `region.cached` makes of a function.

A miss is a `get_or_load` whose loader is the function, so one caller in the whole cluster runs it. Callers of one
process that miss the same key at the same time ask once: the first one flies, the others wait for it. Refuses to
know how a region reads and loads.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast, overload

from typing_extensions import ParamSpec

from daycache_ray.client.arguments import DEADLINE_S
from daycache_ray.client.cached_keys import CallKey
from daycache_ray.client.cached_loop import RegionFromLoop
from daycache_ray.client.node_reads import FAR
from daycache_ray.client.region_reads import ABSENT
from daycache_ray.words.errors import DeadlineExceededError, InvalidArgumentError, LoadError
from daycache_ray.words.ports import MISSING
from daycache_ray.words.types import Key

if TYPE_CHECKING:
    from daycache_ray.client.async_region import AsyncRegion
    from daycache_ray.client.region import Region

P = ParamSpec("P")
R = TypeVar("R")

_flights_within: ContextVar[tuple[Any, ...]] = ContextVar("flights_within", default=())
"""The flights inside which this code runs: waiting for one of them would be for ever."""

Flight: TypeAlias = "Future[BaseException | None]"
"""A load of this process that is under way; its result is the function's error, or None."""


class _Calls:
    """What the calls of one function share, whatever its colour."""

    def __init__(self, region: Any, function: Callable[..., Any], options: dict[str, Any]) -> None:
        if not callable(function):
            raise InvalidArgumentError(f"cached decorates a function, not a {type(function).__name__}")
        self.region = region
        self.function = function
        self.key = CallKey(function, options["key"])
        self.ttl_s = options["ttl_s"]
        self.level = options["level"]
        self._tags = options["tags"]
        self._flights: dict[Key, Flight] = {}

    def options(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """Return how the result of a call is kept."""
        tags = self._tags(*args, **kwargs) if callable(self._tags) else self._tags
        return {"ttl_s": self.ttl_s, "level": self.level, "tags": tags}

    def near_value(self, key: Key) -> Any:
        """Return what shared memory has; FAR or ABSENT where it does not."""
        return self.region.near_value(key, ABSENT, self.level)

    def fly(self, key: Key) -> tuple[Flight, bool]:
        """Return the flight for a key, and whether the caller is the one who flies it.

        No lock: `setdefault` of a dict is one step.
        """
        mine: Flight = Future()
        mine.set_running_or_notify_cancel()
        flight = self._flights.setdefault(key, mine)
        if flight in _flights_within.get():
            raise LoadError(
                f"{self.key.name} asks, while it computes {key!r}, for that very value: it would wait for itself"
            )
        return flight, flight is mine

    def land(self, key: Key, flight: Flight, error: BaseException | None) -> None:
        """The flight is over; those who wait look at what it brought."""
        self._flights.pop(key, None)
        flight.set_result(error)

    @property
    def wait_s(self) -> float:
        """How long somebody else's load is waited for."""
        return float(self.region.config.load_deadline_s + DEADLINE_S)

    def late(self, key: Key) -> DeadlineExceededError:
        """Return the error for a load that did not come back in time."""
        return DeadlineExceededError(f"{self.key.name} was not computed within {self.wait_s:g} s for {key!r}")


class _Outcome:
    """What the function did when the loader called it: its own error is what its caller wants to see."""

    def __init__(self) -> None:
        self.error: Exception | None = None


class CachedFunction(Generic[P, R]):
    """A plain function whose results are kept. Called like the function; threads may share it.

    An exception is raised as it is and kept nowhere; callers in other processes that waited for it get LoadError
    with its text. None is a result like others. MISSING, returned, is handed out and not kept.
    """

    def __init__(self, calls: _Calls, bound: tuple[Any, ...] = ()) -> None:
        self._calls = calls
        self._bound = bound
        functools.update_wrapper(cast(Any, self), calls.function)

    def __repr__(self) -> str:
        return f"<cached {self._calls.key.name} in region '{self._calls.region.name}'>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else CachedFunction(self._calls, (instance,))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the kept result, or compute it and keep it."""
        calls = self._calls
        if self._bound:
            args = (*self._bound, *args)  # type: ignore[assignment]
        key = calls.key.of(args, kwargs)
        value = calls.near_value(key)
        if value is not FAR and value is not ABSENT:
            return cast(R, value)
        flight, is_mine = calls.fly(key)
        if is_mine:
            return cast(R, self._fly(key, flight, args, kwargs))
        try:
            error = flight.result(calls.wait_s)
        except FutureTimeoutError:
            raise calls.late(key) from None
        if error is not None:
            raise error
        return cast(R, self._load(key, args, kwargs))

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> Key:
        """Return the key under which the result of this call is kept."""
        return self._calls.key.of((*self._bound, *args), kwargs)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the result of this call; return whether there was one. A computation under way is not kept."""
        return bool(self._calls.region.delete(self.key_for(*args, **kwargs)))

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute the result now, keep it in place of what there is, and return it."""
        calls = self._calls
        key = self.key_for(*args, **kwargs)
        value = calls.function(*self._bound, *args, **kwargs)
        if value is MISSING:
            calls.region.delete(key)
        else:
            calls.region.set(key, value, **calls.options((*self._bound, *args), kwargs))
        return cast(R, value)

    def _fly(self, key: Key, flight: Flight, args: Any, kwargs: Any) -> Any:
        token = _flights_within.set((*_flights_within.get(), flight))
        failure: BaseException | None = None
        try:
            return self._load(key, args, kwargs)
        except Exception as error:
            failure = error
            raise
        finally:
            _flights_within.reset(token)
            self._calls.land(key, flight, failure)

    def _load(self, key: Key, args: Any, kwargs: Any) -> Any:
        calls, outcome = self._calls, _Outcome()

        def load(_: str) -> Any:
            try:
                return calls.function(*args, **kwargs)
            except Exception as error:
                outcome.error = error
                raise

        try:
            return calls.region.get_or_load(key, load, default=MISSING, **calls.options(args, kwargs))
        except LoadError:
            if outcome.error is None:
                raise
        raise outcome.error


class AsyncCachedFunction(Generic[P, R]):
    """The same with await, for a function of either colour; see CachedFunction."""

    def __init__(self, calls: _Calls, bound: tuple[Any, ...] = ()) -> None:
        self._calls = calls
        self._bound = bound
        functools.update_wrapper(cast(Any, self), calls.function)
        mark: Any = getattr(inspect, "markcoroutinefunction", None)
        if mark is not None:
            mark(self)

    def __repr__(self) -> str:
        return f"<cached {self._calls.key.name} in region '{self._calls.region.name}', with await>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else AsyncCachedFunction(self._calls, (instance,))

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the kept result, or compute it and keep it."""
        calls = self._calls
        if self._bound:
            args = (*self._bound, *args)  # type: ignore[assignment]
        key = calls.key.of(args, kwargs)
        value = calls.near_value(key)
        if value is not FAR and value is not ABSENT:
            return cast(R, value)
        flight, is_mine = calls.fly(key)
        if is_mine:
            return cast(R, await self._fly(key, flight, args, kwargs))
        try:
            # Shielded: one who gives up must not end the flight of the others.
            error = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(flight)), calls.wait_s)
        except asyncio.TimeoutError:
            raise calls.late(key) from None
        if error is not None:
            raise error
        return cast(R, await self._load(key, args, kwargs))

    def key_for(self, *args: P.args, **kwargs: P.kwargs) -> Key:
        """Return the key under which the result of this call is kept."""
        return self._calls.key.of((*self._bound, *args), kwargs)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the result of this call; return whether there was one. A computation under way is not kept."""
        return bool(await self._calls.region.delete(self.key_for(*args, **kwargs)))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute the result now, keep it in place of what there is, and return it."""
        calls = self._calls
        key = self.key_for(*args, **kwargs)
        value = await _called(calls.function, (*self._bound, *args), kwargs)
        if value is MISSING:
            await calls.region.delete(key)
        else:
            await calls.region.set(key, value, **calls.options((*self._bound, *args), kwargs))
        return cast(R, value)

    async def _fly(self, key: Key, flight: Flight, args: Any, kwargs: Any) -> Any:
        token = _flights_within.set((*_flights_within.get(), flight))
        failure: BaseException | None = None
        try:
            return await self._load(key, args, kwargs)
        except Exception as error:
            failure = error
            raise
        finally:
            _flights_within.reset(token)
            self._calls.land(key, flight, failure)

    async def _load(self, key: Key, args: Any, kwargs: Any) -> Any:
        calls, outcome = self._calls, _Outcome()

        async def load(_: str) -> Any:
            try:
                return await _called(calls.function, args, kwargs)
            except Exception as error:
                outcome.error = error
                raise

        try:
            return await calls.region.get_or_load(key, load, default=MISSING, **calls.options(args, kwargs))
        except LoadError:
            if outcome.error is None:
                raise
        raise outcome.error


class CachedDecorator:
    """What `Region.cached` returns: it makes a cached function of a function of either colour."""

    def __init__(self, region: Region, options: dict[str, Any]) -> None:
        self._region = region
        self._options = options

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Awaitable[R]]
    ) -> AsyncCachedFunction[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> CachedFunction[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Return the cached function."""
        if inspect.iscoroutinefunction(function):
            return AsyncCachedFunction(_Calls(RegionFromLoop(self._region), function, self._options))
        return CachedFunction(_Calls(self._region, function, self._options))


class AsyncCachedDecorator:
    """What `AsyncRegion.cached` returns: it makes a cached coroutine function of a function of either colour."""

    def __init__(self, region: AsyncRegion, options: dict[str, Any]) -> None:
        self._region = region
        self._options = options

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> AsyncCachedFunction[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> AsyncCachedFunction[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Return the cached function."""
        return AsyncCachedFunction(_Calls(self._region, function, self._options))


async def _called(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Return what a function of either colour returns, without holding the loop up."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
