"""Functions whose results a region keeps, on every kind of cache; see also tests/unit/client/test_cached_keys.py."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest

from daycache_ray import MISSING, InvalidArgumentError, InvalidTtlError, LoadError, UnknownLevelError
from tests.conformance.conftest import Blocking


def calls_of(region: Any, cached: Any) -> Any:
    """Return a cached function as a plain one, whatever the face of its region."""
    return Blocking(cached, region._loop) if isinstance(region, Blocking) else cached


class Called:
    """A function that notes its calls."""

    def __init__(self, answer: Any = None) -> None:
        self.calls: list[Any] = []
        self.answer = answer

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)
        return self.answer(*args) if callable(self.answer) else self.answer


def test_it_runs_once(region: Any) -> None:
    ran = Called(lambda symbol, days: f"{symbol} {days}")

    def price(symbol: str, days: int = 5) -> Any:
        """A price."""
        return ran(symbol, days)

    decorated = region.cached(ttl_s=60)(price)
    cached = calls_of(region, decorated)
    assert [cached("A"), cached("A", 5), cached(symbol="A"), cached(days=5, symbol="A")] == ["A 5"] * 4
    assert ran.calls == [("A", 5)]
    assert cached("A", 6) == "A 6"
    assert cached("B") == "B 5"
    assert len(ran.calls) == 3
    key = cached.key_for("A")
    assert region.get(key) == "A 5"
    assert 50 < region.ttl(key) <= 60
    assert (decorated.__name__, decorated.__doc__) == ("price", "A price.")
    assert decorated.__wrapped__ is price
    assert "price in region" in repr(decorated)


def test_a_coroutine_function(region: Any) -> None:
    ran = Called(1)

    async def price(symbol: str) -> Any:
        return ran(symbol)

    cached = region.cached(ttl_s=60)(price)
    if not isinstance(region, Blocking):
        import asyncio

        async def both() -> list[Any]:
            return [await cached("A"), await cached("A")]

        assert asyncio.run(both()) == [1, 1]
    else:
        assert [calls_of(region, cached)("A") for _ in range(2)] == [1, 1]
    assert ran.calls == [("A",)]


def test_invalidate_and_refresh(region: Any) -> None:
    numbers = iter(range(100))
    cached = calls_of(region, region.cached(key=lambda name: f"number of {name}")(lambda name: next(numbers)))
    assert cached("a") == 0
    assert cached("a") == 0
    assert cached.invalidate("a") is True
    assert cached.invalidate("a") is False
    assert cached("a") == 1
    assert cached.refresh("a") == 2
    assert cached("a") == 2
    region.flush()
    assert region.get("number of a", level="strong") == 2


def test_none_is_kept_and_missing_is_not(region: Any) -> None:
    none, missing = Called(None), Called(MISSING)
    cached = calls_of(region, region.cached(key=lambda name: f"none {name}")(none))
    assert [cached("a"), cached("a")] == [None, None]
    assert len(none.calls) == 1
    cached = calls_of(region, region.cached(key=lambda name: f"missing {name}")(missing))
    if region.config.negative_ttl_s is None:
        assert [cached("a"), cached("a")] == [MISSING, MISSING]
        assert len(missing.calls) == 2


def test_an_exception_is_the_function_s_own_and_is_not_kept(region: Any) -> None:
    def fail(name: str) -> Any:
        raise ZeroDivisionError(name)

    failing = Called(fail)

    def divide(name: str) -> Any:
        return failing(name)

    cached = calls_of(region, region.cached()(divide))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="a"):
            cached("a")
    assert len(failing.calls) == 2
    failing.answer = 1
    assert cached("a") == 1


def test_methods(region: Any) -> None:
    ran = Called(lambda who, symbol: f"{who} {symbol}")

    @dataclass(frozen=True)
    class Desk:
        who: str

        @region.cached(ttl_s=60)
        def price(self, symbol: str) -> Any:
            return ran(self.who, symbol)

    mine, other = Desk("me"), Desk("you")
    assert [calls_of(region, mine.price)("A") for _ in range(2)] == ["me A"] * 2
    assert calls_of(region, Desk("me").price)("A") == "me A"
    assert calls_of(region, other.price)("A") == "you A"
    assert len(ran.calls) == 2
    assert calls_of(region, mine.price).invalidate("A") is True
    assert calls_of(region, mine.price)("A") == "me A"
    assert len(ran.calls) == 3

    class Plain:
        @region.cached()
        def price(self, symbol: str) -> Any:
            return ran("plain", symbol)

        @region.cached(key=lambda self, symbol: f"plain {symbol}")
        def other(self, symbol: str) -> Any:
            return ran("plain", symbol)

    with pytest.raises(InvalidArgumentError, match="key="):
        calls_of(region, Plain().price)("A")
    assert calls_of(region, Plain().other)("A") == "plain A"
    assert calls_of(region, Plain().other)("A") == "plain A"
    assert len(ran.calls) == 4


def test_one_that_asks_for_its_own_value(region: Any) -> None:
    if isinstance(region, Blocking):

        @region.cached(key=lambda n: f"own {n}")
        async def endless(n: int) -> Any:
            return await endless(n)

        @region.cached(key=lambda n: f"fibonacci {n}")
        async def fibonacci(n: int) -> int:
            return n if n < 2 else await fibonacci(n - 1) + await fibonacci(n - 2)
    else:

        @region.cached(key=lambda n: f"own {n}")
        def endless(n: int) -> Any:
            return endless(n)

        @region.cached(key=lambda n: f"fibonacci {n}")
        def fibonacci(n: int) -> int:
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    with pytest.raises(LoadError, match="wait for itself"):
        calls_of(region, endless)(1)
    assert calls_of(region, fibonacci)(8) == 21


def test_options_are_checked_where_they_stand(region: Any) -> None:
    with pytest.raises(InvalidTtlError):
        region.cached(ttl_s=-1)
    with pytest.raises(UnknownLevelError):
        region.cached(level="strongest")
    with pytest.raises(InvalidArgumentError):
        region.cached()(7)
    with pytest.raises(InvalidArgumentError, match="lambda"):
        region.cached()(lambda: 1)


def test_threads_of_one_process_ask_once(stage: Any, eventual: Any) -> None:
    if stage.kind.endswith("async"):
        pytest.skip("an asyncio face belongs to one thread")
    go_on = threading.Event()
    ran = Called(lambda name: go_on.wait(10))
    loads_before = eventual.statistics().loads_count

    @eventual.cached(ttl_s=60)
    def slow(name: str) -> Any:
        return ran(name)

    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(slow("a"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert found == [True] * 16
    assert len(ran.calls) == 1
    assert eventual.statistics().loads_count == loads_before + 1
