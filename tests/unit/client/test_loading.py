"""One load per missing key: who loads, who waits, and what is stored, shared or given back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from daycache_ray.client.loading import NOT_THERE
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import (
    DeadlineExceededError,
    InvalidValueError,
    LoadError,
    NoLoaderError,
    ServerError,
)
from daycache_ray.words.operations import FillAnswer, FillAsk, FillFail, FillStore, OperationKind
from daycache_ray.words.ports import MISSING
from daycache_ray.words.records import HEADER, Flag
from tests.unit.client.one_replica import Stage


class Origin:
    """An origin that counts what it is asked."""

    def __init__(self, **values: object) -> None:
        self.values = values
        self.asked: list[tuple[str, ...]] = []

    def load_many(self, keys: Sequence[str]) -> dict[str, object]:
        """Return what there is."""
        self.asked.append(tuple(keys))
        return {key: self.values[key] for key in keys if key in self.values}


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_missing_key_is_loaded_once_and_stored(stage: Stage) -> None:
    origin = Origin(a=1)
    assert stage.region.get_or_load("a", origin) == 1
    assert stage.region.get_or_load("a", origin) == 1
    assert stage.region.get("a") == 1
    assert origin.asked == [("a",)]
    (stored,) = [request for _, request in stage.replica.requests if isinstance(request, FillStore)]
    assert stored.operation.kind == OperationKind.SET


def test_the_region_has_a_loader_and_a_ttl() -> None:
    stage = Stage(RegionConfig(name="orders", loader=lambda key: key.upper(), ttl_s=7.0))
    assert stage.region.get_or_load("aapl") == "AAPL"
    (record,) = stage.replica.records.values()
    assert HEADER.unpack_from(record)[2] == stage.replica.wall_ns + 7 * 10**9
    assert stage.region.get_or_load("b", lambda key: "mine", ttl_s=None) == "mine"


def test_none_is_a_value_and_is_cached(stage: Stage) -> None:
    origin = Origin(a=None)
    assert stage.region.get_or_load("a", origin, default=7) is None
    assert stage.region.get_or_load("a", origin, default=7) is None
    assert origin.asked == [("a",)]


def test_what_the_origin_lacks_is_a_default_and_is_asked_for_again(stage: Stage) -> None:
    origin = Origin()
    for _ in range(2):
        assert stage.region.get_or_load("a", origin, default=7) == 7
    assert len(origin.asked) == 2
    (told, _) = stage.replica.told
    assert isinstance(told, FillFail)
    assert told.message == NOT_THERE
    assert stage.region.get_or_load("b", lambda key: MISSING) is None


def test_a_miss_is_remembered_where_the_region_says_so() -> None:
    stage = Stage(RegionConfig(name="orders", level="strong", negative_ttl_s=3.0))
    origin = Origin()
    for _ in range(2):
        assert stage.region.get_or_load("a", origin, default=7) == 7
    assert origin.asked == [("a",)]
    (record,) = stage.replica.records.values()
    assert HEADER.unpack_from(record)[6] & Flag.NEGATIVE
    assert stage.region.get("a", default="nothing") == "nothing"
    assert stage.region.exists("a") is False
    assert stage.region.add("a", 1) is True


def test_a_waiter_hears_the_error_of_the_one_who_loads(stage: Stage) -> None:
    stage.replica.fill_answers = [FillAnswer(7, 0, "ValueError: origin is down")]
    with pytest.raises(LoadError, match="origin is down"):
        stage.region.get_or_load("a", Origin(a=1))


def test_a_waiter_hears_that_there_is_nothing(stage: Stage) -> None:
    stage.replica.fill_answers = [FillAnswer(7, 0, NOT_THERE)]
    assert stage.region.get_or_load("a", Origin(), default=7) == 7


def test_a_waiter_reads_what_was_stored_and_asks_again_when_it_was_voided(stage: Stage) -> None:
    origin = Origin(a=1)
    stage.replica.fill_answers = [FillAnswer(7, 0), FillAnswer(7, 0)]
    assert stage.region.get_or_load("a", origin) == 1
    asks = [request for _, request in stage.replica.requests if isinstance(request, FillAsk)]
    assert len(asks) == 3
    assert origin.asked == [("a",)]


def test_whose_token_was_voided_has_its_value_and_stores_nothing(stage: Stage) -> None:
    def load(key: str) -> str:
        stage.region.set(key, "newer")
        return "older"

    assert stage.region.get_or_load("a", load) == "older"
    assert stage.region.get("a") == "newer"


def test_a_loader_that_raises_gives_its_token_back(stage: Stage) -> None:
    def load(key: str) -> str:
        raise ValueError("no such table")

    with pytest.raises(LoadError, match="no such table") as failure:
        stage.region.get_or_load("a", load)
    assert isinstance(failure.value.__cause__, ValueError)
    (told,) = stage.replica.told
    assert isinstance(told, FillFail)
    assert "no such table" in told.message
    assert stage.region.get_or_load("a", Origin(a=1)) == 1


def test_a_loaded_value_that_no_codec_takes_gives_its_token_back(stage: Stage) -> None:
    with pytest.raises(InvalidValueError):
        stage.region.get_or_load("a", lambda key: object())
    assert len(stage.replica.told) == 1
    assert stage.replica.fills == {}


def test_a_value_that_could_not_be_stored_reaches_its_caller(stage: Stage) -> None:
    answer = stage.replica.answer

    def refuse_stores(seat: int, request: object) -> object:
        if isinstance(request, FillStore):
            raise ServerError("disk of sand")
        return answer(seat, request)  # type: ignore[arg-type]

    stage.replica.answer = refuse_stores  # type: ignore[method-assign]
    assert stage.region.get_or_load("a", Origin(a=1)) == 1


def test_many_missing_keys_are_one_question() -> None:
    stage = Stage(RegionConfig(name="orders", shards=4))
    origin = Origin(**{f"k{number}": number for number in range(20)})
    stage.region.set("k3", "there")
    keys = [*(f"k{number}" for number in range(25)), "k3", "k4"]
    found = stage.region.get_or_load_many(keys, origin)
    assert found == {f"k{number}": number for number in range(20)} | {"k3": "there"}
    assert [len(asked) for asked in origin.asked] == [24]
    assert stage.region.get_or_load_many(keys[:20], origin) == {f"k{n}": n for n in range(20)} | {"k3": "there"}
    assert len(origin.asked) == 1


def test_many_wait_for_others_only_when_they_hold_nothing(stage: Stage) -> None:
    origin = Origin(a=1, b=2)
    stage.replica.fill_answers = [FillAnswer(7, -1)]
    assert stage.region.get_or_load_many(["a", "b"], origin) == {"a": 1, "b": 2}
    kinds = [type(request).__name__ for _, request in stage.replica.requests if not isinstance(request, FillAsk)]
    asks = [request.wait for _, request in stage.replica.requests if isinstance(request, FillAsk)]
    assert asks == [False, False, True]
    assert kinds.index("FillStore") < len(kinds) - 1
    assert origin.asked == [("b",), ("a",)]


def test_many_that_fail_give_all_tokens_back(stage: Stage) -> None:
    class Broken:
        def load_many(self, keys: Sequence[str]) -> dict[str, object]:
            raise OSError("gone")

    with pytest.raises(LoadError):
        stage.region.get_or_load_many(["a", "b", "c"], Broken())
    assert len(stage.replica.told) == 3
    assert stage.replica.fills == {}


def test_a_load_that_never_comes_ends_at_the_deadline(stage: Stage) -> None:
    stage.replica.fill_answers = [FillAnswer(7, 0)] * 10_000
    answer = stage.replica.answer

    def slowly(seat: int, request: object) -> object:
        stage.driver.now_s += 0.1
        return answer(seat, request)  # type: ignore[arg-type]

    stage.replica.answer = slowly  # type: ignore[method-assign]
    with pytest.raises(DeadlineExceededError):
        stage.region.get_or_load("a", Origin(a=1), deadline_s=2)
    assert stage.driver.now_s < 3


def test_bytes_keys_reach_the_loader_as_text(stage: Stage) -> None:
    origin = Origin(a=1)
    assert stage.region.get_or_load(b"a", origin) == 1
    assert origin.asked == [("a",)]


def test_no_loader_anywhere(stage: Stage) -> None:
    with pytest.raises(NoLoaderError):
        stage.region.get_or_load_many(["a"])
