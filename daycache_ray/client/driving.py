"""The loops that all drivers of exchanges share, for threads and for asyncio. What a step means is the driver's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from daycache_ray.client.exchanges import Exchange, Step
from daycache_ray.words.errors import CacheError

T = TypeVar("T")


def drive(exchange: Exchange[T], perform: Callable[[Step], Any]) -> T:
    """Perform an exchange to its end; raises what it raises."""
    try:
        step = next(exchange)
        while True:
            try:
                outcome = perform(step)
            except BaseException as error:
                step = exchange.throw(error)
            else:
                step = exchange.send(outcome)
    except StopIteration as done:
        value: T = done.value
        return value


async def adrive(exchange: Exchange[T], perform: Callable[[Step], Awaitable[Any]]) -> T:
    """Perform an exchange to its end; raises what it raises, cancellation included."""
    try:
        step = next(exchange)
        while True:
            try:
                outcome = await perform(step)
            except BaseException as error:
                step = exchange.throw(error)
            else:
                step = exchange.send(outcome)
    except StopIteration as done:
        value: T = done.value
        return value


def run_each(
    run: Callable[[Exchange[dict[Any, Any]]], dict[Any, Any]], exchanges: Iterable[Exchange[dict[Any, Any]]]
) -> dict[Any, Any]:
    """Run exchanges that each give a part of a dict; the first error is raised when all were tried."""
    merged: dict[Any, Any] = {}
    first_error: CacheError | None = None
    for exchange in exchanges:
        try:
            merged.update(run(exchange))
        except CacheError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error
    return merged


async def arun_each(
    run: Callable[[Exchange[dict[Any, Any]]], Awaitable[dict[Any, Any]]], exchanges: Iterable[Exchange[dict[Any, Any]]]
) -> dict[Any, Any]:
    """Run exchanges at the same time that each give a part of a dict; one of their errors is raised."""
    merged: dict[Any, Any] = {}
    first_error: BaseException | None = None
    for part in await asyncio.gather(*map(run, exchanges), return_exceptions=True):
        if isinstance(part, BaseException):
            first_error = first_error or part
        else:
            merged.update(part)
    if first_error is not None:
        raise first_error
    return merged
