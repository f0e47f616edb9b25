"""The keys of cached calls: one for equal calls, different ones for all others, the same in every process."""

from __future__ import annotations

import datetime
import enum
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from daycache_ray import InvalidArgumentError
from daycache_ray.client.cached_keys import READABLE_BYTES_MAX, CallKey, argument_text


class Side(enum.Enum):
    BUY = 1
    SELL = 2


class Size(enum.IntEnum):
    SMALL = 1


@dataclass
class Order:
    symbol: str
    side: Side


def load(symbol: str, days: int = 5, *more: Any, exact: bool = False, **options: Any) -> None:
    """A function with every kind of parameter."""


def plain(symbol: str, days: int) -> None:
    """A function with the usual ones."""


DIFFERENT = [
    None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, float("nan"), float("inf"), "", "1", "None", b"", b"1", "True",
    (), (1,), (1, 2), ((1,), 2), (1, (2,)), [], [1], ["1"], {}, {1: 2}, {2: 1}, {"1": 2}, set(), {1}, frozenset(),
    frozenset({1}), Decimal(1), Decimal("1.0"), UUID(int=1), Side.BUY, Side.SELL, Size.SMALL, Order, Side,
    Order("A", Side.BUY), Order("A", Side.SELL), datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    datetime.datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), datetime.time(1), datetime.timedelta(1),
    complex(1, 0), bytearray(b"1"), "(1,)", "[1]", "{}", 10**40,
]  # fmt: skip


def test_different_arguments_have_different_texts() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert argument_text(one) != argument_text(other), (one, other)


def test_order_says_nothing_where_there_is_none() -> None:
    assert argument_text({"a": 1, "b": 2}) == argument_text({"b": 2, "a": 1})
    assert argument_text({"x", "y", "z"}) == argument_text({"z", "y", "x"})


@pytest.mark.parametrize("value", [object(), np.zeros(2), np.float64(1.0), lambda: 1, [object()], {"a": object()}, sys])
def test_arguments_without_a_text(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"cached\(key="):
        argument_text(value)


def test_equal_calls_have_one_key() -> None:
    key = CallKey(load, None)
    same = [
        key.of(("AAPL",), {}),
        key.of(("AAPL", 5), {}),
        key.of((), {"symbol": "AAPL"}),
        key.of((), {"days": 5, "symbol": "AAPL"}),
        key.of(("AAPL",), {"exact": False}),
    ]
    assert len(set(same)) == 1
    others = [
        key.of(("AAPL", 6), {}),
        key.of(("AAPL", 5, 1), {}),
        key.of(("AAPL", 5, (1,)), {}),
        key.of(("AAPL", 5), {"exact": True}),
        key.of(("AAPL", 5), {"other": 1}),
        key.of(("AAPL", 5.0), {}),
    ]
    assert len({*same, *others}) == 1 + len(others)
    assert CallKey(plain, None).of(("AAPL", 5), {}) == CallKey(plain, None).of((), {"days": 5, "symbol": "AAPL"})
    with pytest.raises(TypeError):
        key.of((), {})


def test_keys_can_be_read() -> None:
    assert CallKey(plain, None).of(("AAPL", 5), {}) == f"{__name__}:plain('AAPL', 5)"


def test_long_ones_end_in_a_digest() -> None:
    key = CallKey(plain, None)
    one, other = key.of(("A" * 1000, 5), {}), key.of(("A" * 1000, 6), {})
    assert one != other
    assert len(one) <= READABLE_BYTES_MAX
    assert str(one).startswith(f"{__name__}:plain#")
    assert isinstance(key.of(("\ud800", 5), {}), str)


def test_a_key_of_one_s_own() -> None:
    key = CallKey(plain, lambda symbol, days: f"{symbol}/{days}")
    assert key.of(("AAPL",), {"days": 5}) == "AAPL/5"
    with pytest.raises(InvalidArgumentError, match="return str or bytes"):
        CallKey(plain, lambda symbol, days: 5).of(("AAPL", 5), {})  # type: ignore[arg-type, return-value]
    with pytest.raises(InvalidArgumentError):
        CallKey(plain, "AAPL")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="lambda"):
        CallKey(lambda: 1, None)
    assert CallKey(lambda: 1, lambda: "mine").of((), {}) == "mine"


def test_the_same_in_every_process() -> None:
    code = (
        "from daycache_ray.client.cached_keys import argument_text; import datetime\n"
        "print(argument_text(({'b', 'a', 'c'}, {'z': 1, 'a': 2.5}, datetime.date(2026, 1, 1))))"
    )
    texts = set()
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": "."}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        texts.add(run.stdout)
    assert len(texts) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in type and value, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return repr(one) == repr(other)


@given(VALUES, VALUES)
def test_texts_are_equal_exactly_when_values_are(one: Any, other: Any) -> None:
    assert (argument_text(one) == argument_text(other)) is same(one, other)
