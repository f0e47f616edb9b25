"""Nested containers: the quick look at what is in them must never take what MessagePack alone would change."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any

import pytest

from daycache_ray.codecs.registry import decode, encode
from daycache_ray.words.errors import InvalidValueError


class Text(str):
    """A str of one's own."""


class Side(enum.IntEnum):
    """A number of one's own."""

    BUY = 1


class Rows(list):
    """A list of one's own."""


def nested(leaf: Any, *, is_wide: bool) -> list[Any]:
    """Return every place in which `leaf` may stand, in small containers or in large ones."""
    fill = [float(number) for number in range(40 if is_wide else 1)]
    return [
        [*fill, [leaf]],
        [*fill, {"a": leaf}],
        {"a": [*fill, {"b": [*fill, [leaf]]}]},
        {"a": {"b": {"c": leaf}}, **{f"k{number}": 1 for number in fill}},
        [{"id": number, "row": [leaf]} for number in fill],
    ]


def kinds(value: Any) -> Any:
    """Return the types of a value and of all that is in it."""
    if isinstance(value, dict):
        return type(value), [(kinds(key), kinds(item)) for key, item in value.items()]
    return (type(value), [kinds(item) for item in value]) if isinstance(value, (list, tuple)) else type(value)


@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize(
    "leaf", [1, True, None, 1.5, "x", b"x", (1, (2,)), {1: {2: "x"}}, {(1, 2): 3}, bytearray(b"x"), 2**70, "\ud800"]
)
def test_nested_values_come_back_with_their_types(leaf: Any, *, is_wide: bool) -> None:
    for value in nested(leaf, is_wide=is_wide):
        again = decode(*encode(value))
        assert again == value
        assert kinds(again) == kinds(value)


@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("leaf", [Text("x"), Side.BUY, Rows(), OrderedDict(a=1), {Text("x"): 1}, {Side.BUY: 1}])
def test_nested_types_that_would_change_are_refused(leaf: Any, *, is_wide: bool) -> None:
    for value in nested(leaf, is_wide=is_wide):
        with pytest.raises(InvalidValueError):
            encode(value)


@pytest.mark.parametrize("count", [1, 2, 15, 300, 5_000])
def test_a_list_that_contains_itself_is_refused_at_once(count: int) -> None:
    value: list[Any] = []
    value.extend([value] * count)
    with pytest.raises(InvalidValueError, match="contains itself"):
        encode(value)


def test_one_object_in_many_places_is_stored_as_often() -> None:
    row = {"bid": 1.5}
    value = [row] * 1_000
    assert decode(*encode(value)) == value
