"""Read-through: one load for all who wait, errors and misses shared, batches, and what a loader may do."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from daycache_ray import MISSING, LoadError, NoLoaderError


def test_a_missing_key_is_loaded_once(region: Any) -> None:
    asked: list[str] = []

    def load(key: str) -> str:
        asked.append(key)
        return f"value of {key}"

    assert [region.get_or_load("k", load) for _ in range(3)] == ["value of k"] * 3
    assert asked == ["k"]
    assert region.get("k", level="strong") == "value of k"
    assert region.get_or_load("j", load, ttl_s=60) == "value of j"
    assert region.ttl("j", level="strong") > 50


def test_none_is_a_value(region: Any) -> None:
    asked: list[str] = []

    def load(key: str) -> None:
        asked.append(key)

    assert [region.get_or_load("k", load, default=7) for _ in range(3)] == [None] * 3
    assert asked == ["k"]
    assert region.get("k", default=7, level="strong") is None


def test_what_the_origin_lacks(stage: Any, eventual: Any) -> None:
    asked: list[str] = []

    def load(key: str) -> Any:
        asked.append(key)
        return MISSING

    assert [eventual.get_or_load("k", load, default=7) for _ in range(3)] == [7, 7, 7]
    assert asked == ["k"]
    assert eventual.get("k", default=8) == 8
    assert eventual.exists("k") is False
    assert eventual.add("k", 1) is True
    strong = stage.region("strong")
    strong.clear()
    assert [strong.get_or_load("k", load, default=7) for _ in range(2)] == [7, 7]
    assert asked == ["k"] * 3


def test_a_loader_that_raises(region: Any) -> None:
    def load(key: str) -> Any:
        raise ValueError("the origin is down")

    with pytest.raises(LoadError, match="the origin is down") as failure:
        region.get_or_load("k", load)
    assert isinstance(failure.value.__cause__, ValueError)
    assert region.get_or_load("k", lambda key: 1) == 1


def test_an_async_loader(region: Any) -> None:
    async def load(key: str) -> str:
        await asyncio.sleep(0)
        return key.upper()

    assert region.get_or_load("k", load) == "K"
    assert region.get("k", level="strong") == "K"


def test_batches_are_one_question(stage: Any, eventual: Any) -> None:
    asked: list[int] = []
    nowhere = f"not there {stage.kind}"

    class Origin:
        def load_many(self, keys: Any) -> dict[str, int]:
            asked.append(len(keys))
            return {key: len(key) for key in keys if key != nowhere} | {"another": 1}

    keys = [f"batch-{number}" for number in range(50)]
    found = eventual.get_or_load_many([*keys, nowhere], Origin())
    assert found == {key: len(key) for key in keys}
    assert asked == [51]
    assert eventual.get_or_load_many(keys, Origin()) == found
    assert asked == [51]
    assert eventual.get("another") is None


def test_without_a_loader(region: Any) -> None:
    with pytest.raises(NoLoaderError, match="loader"):
        region.get_or_load("k")
    with pytest.raises(NoLoaderError):
        region.get_or_load_many(["k"])


def test_an_un_encodable_value_is_nobody_s(region: Any) -> None:
    if region.config.allow_pickle:
        pytest.skip("this region takes everything that pickles")
    with pytest.raises(TypeError):
        region.get_or_load("k", lambda key: object())
    assert region.get_or_load("k", lambda key: 1) == 1


def test_many_threads_one_load(stage: Any, eventual: Any) -> None:
    if stage.kind.endswith("async"):
        pytest.skip("an asyncio face belongs to one thread")
    asked: list[str] = []
    found: list[Any] = []
    barrier = threading.Barrier(8)

    def load(key: str) -> str:
        asked.append(key)
        threading.Event().wait(0.1)
        return "loaded"

    def work() -> None:
        barrier.wait(10)
        found.append(eventual.get_or_load("k", load))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == ["loaded"] * 8
    assert asked == ["k"]


def test_many_threads_share_an_error(stage: Any, eventual: Any) -> None:
    if stage.kind.endswith("async"):
        pytest.skip("an asyncio face belongs to one thread")
    errors: list[str] = []
    barrier = threading.Barrier(4)

    def load(key: str) -> str:
        threading.Event().wait(0.1)
        raise ValueError("the origin is down")

    def work() -> None:
        barrier.wait(10)
        try:
            eventual.get_or_load("k", load)
        except LoadError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 4
    assert all("the origin is down" in error for error in errors)
