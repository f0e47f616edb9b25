"""Loaders that do what they may not: each gets an error that says what, and no lease is left behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import BackpressureError, InvalidValueError, LoadCycleError, LoadError
from daycache_ray.words.operations import FillFail
from tests.unit.client.one_replica import Stage


def make(**fields: Any) -> Stage:
    """Return a region."""
    return Stage(RegionConfig(name="orders", **fields))


def test_a_loader_that_asks_for_its_own_key_is_named() -> None:
    stage = make()

    def load(key: str) -> Any:
        return stage.region.get_or_load("b" if key == "a" else "a", load)

    with pytest.raises(LoadCycleError, match="'a' → 'b' → 'a'"):
        stage.region.get_or_load("a", load)
    assert stage.replica.fills == {}
    assert stage.region.get_or_load("c", lambda key: stage.region.get_or_load("d", lambda _: 4)) == 4


def test_a_full_queue_is_refused() -> None:
    stage = make(load_concurrency_max=1, load_queue_max=0)

    class Nested:
        def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
            if "outer" in keys:
                return {"outer": stage.region.get_or_load("inner", self)}
            return {"inner": 1}

    with pytest.raises(LoadError, match="too many loads") as failure:
        stage.region.get_or_load("outer", Nested())
    assert isinstance(failure.value.__cause__, BackpressureError)
    assert stage.region.get_or_load("outer", lambda key: 1) == 1


@pytest.mark.parametrize("answer", [{1: "x"}, {b"a": "x"}, {"b": "x"}])
def test_a_loader_that_returns_other_keys_is_told_so(answer: dict[Any, Any]) -> None:
    stage = make()

    class Wrong:
        def load_many(self, keys: Sequence[str]) -> dict[Any, Any]:
            return answer

    with pytest.raises(LoadError, match="was asked for 'a' and returned"):
        stage.region.get_or_load("a", Wrong())
    assert stage.replica.fills == {}


def test_a_loader_that_returns_none_for_many_is_told_so() -> None:
    stage = make()

    class Wrong:
        def load_many(self, keys: Sequence[str]) -> Any:
            return None

    with pytest.raises(LoadError, match="returned a NoneType for 2 keys"):
        stage.region.get_or_load_many(["a", "b"], Wrong())


def test_one_un_encodable_value_of_many_leaves_no_lease_behind() -> None:
    stage = make()

    class Partly:
        def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
            return {"a": 1, "b": object(), "c": 3}

    with pytest.raises(InvalidValueError, match="'b'"):
        stage.region.get_or_load_many(["a", "b", "c"], Partly())
    assert stage.replica.fills == {}
    assert stage.region.get("a") == 1
    assert [type(told) for told in stage.replica.told] == [FillFail, FillFail]


def test_a_loader_that_raises_after_a_part_of_a_batch_stores_nothing_of_it() -> None:
    stage = make()
    asked: list[str] = []

    def load(key: str) -> str:
        asked.append(key)
        if key == "b" and len(asked) == 2:
            raise ConnectionError("in the middle")
        return key.upper()

    with pytest.raises(LoadError, match="in the middle"):
        stage.region.get_or_load_many(["a", "b", "c"], load)
    assert stage.replica.fills == {}
    assert stage.replica.records == {}
    assert stage.region.get_or_load_many(["a", "b", "c"], load) == {"a": "A", "b": "B", "c": "C"}
