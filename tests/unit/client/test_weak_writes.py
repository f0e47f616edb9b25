"""The send buffer: what waits, what is under way, what was lost, and that one's own writes keep their order."""

from __future__ import annotations

import pytest

from daycache_ray.client.weak_writes import FLUSH_COUNT, WAITING_MAX, WeakWrites
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import ServerError
from daycache_ray.words.operations import Operation, OperationKind, Write
from daycache_ray.words.types import Version
from tests.unit.client.one_replica import Stage


def operation(key: str, value: str = "") -> Operation:
    return Operation(OperationKind.SET, key.encode(), value.encode())


@pytest.fixture
def stage() -> Stage:
    return Stage(RegionConfig(name="orders", level="weak"))


def test_a_later_write_takes_the_earlier_ones_place() -> None:
    weak = WeakWrites(lambda now: None)
    for key, value in [("a", "1"), ("b", "1"), ("a", "2")]:
        assert weak.add(0, operation(key, value))
    assert [(found.key, found.value) for found in weak.take(0)] == [(b"b", b"1"), (b"a", b"2")]


def test_nothing_is_taken_while_earlier_ones_are_under_way() -> None:
    weak = WeakWrites(lambda now: None)
    weak.add(0, operation("a", "1"))
    assert len(weak.take(0)) == 1
    weak.add(0, operation("a", "2"))
    assert weak.take(0) == []
    assert weak.take(1) == []
    found = weak.operation(0, b"a")
    assert found is not None
    assert found.value == b"2"
    weak.landed(0)
    assert len(weak.take(0)) == 1
    weak.landed(0, lost_count=1)
    assert weak.lost_count == 1
    assert weak.operation(0, b"a") is None


def test_the_first_and_the_sixty_fourth_wake_the_sender() -> None:
    wakes: list[bool] = []
    weak = WeakWrites(wakes.append)
    for number in range(FLUSH_COUNT + 5):
        weak.add(0, operation(f"k{number}"))
    assert wakes == [False, True]


def test_a_full_buffer_takes_no_more() -> None:
    weak = WeakWrites(lambda now: None)
    assert all(weak.add(0, operation(f"k{number}")) for number in range(WAITING_MAX))
    assert weak.add(0, operation("one more")) is False


def test_a_weak_set_is_promised_to_nobody_and_seen_by_its_writer(stage: Stage) -> None:
    assert stage.region.set("a", 1) == Version(0, 0)
    assert stage.replica.requests == []
    assert stage.wakes == [False]
    assert stage.region.get("a") == 1
    entry = stage.region.get_entry("a")
    assert entry is not None
    assert entry.served_by == "client"
    assert stage.region.set_many({"b": 2, "c": 3}) == {"b": Version(0, 0), "c": Version(0, 0)}
    assert stage.region.get_many(["a", "b", "d"]) == {"a": 1, "b": 2}
    assert stage.replica.records == {}


def test_flush_sends_what_waits_in_one_message(stage: Stage) -> None:
    for number in range(10):
        stage.region.set(f"k{number % 5}", number)
    stage.region.flush()
    (sent,) = [request for _, request in stage.replica.requests if isinstance(request, Write)]
    assert len(sent.operations) == 5
    assert stage.region.get("k4", level="strong") == 9
    stage.region.flush()
    assert len([request for _, request in stage.replica.requests if isinstance(request, Write)]) == 1


def test_other_writes_first_send_what_waits(stage: Stage) -> None:
    stage.region.set("n", 41)
    assert stage.region.increment("n") == 42
    stage.region.set("a", 1)
    stage.region.set("a", 2, level="strong")
    assert stage.region.get("a", level="strong") == 2
    stage.region.set("b", 1)
    assert stage.region.delete("b") is True
    assert stage.region.get("b") is None


def test_other_writes_wait_for_what_is_under_way(stage: Stage) -> None:
    stage.region.set("a", 1)
    stage.weak.take(0)
    stage.driver.on_pause = lambda: stage.weak.landed(0)
    stage.region.set("a", 2, level="strong")
    assert len(stage.driver.pauses) == 1
    assert stage.region.get("a") == 2


def test_losses_are_counted_and_not_raised(stage: Stage) -> None:
    stage.region.set_many({"a": 1, "b": 2})
    stage.replica.script = [ServerError("no")]
    stage.region.flush()
    assert stage.weak.lost_count == 2
    assert stage.region.get("a") is None
    stage.region.set("a", 3)
    stage.region.flush()
    assert stage.region.get("a", level="strong") == 3


def test_a_weak_write_beyond_the_buffer_is_sent(stage: Stage) -> None:
    for number in range(WAITING_MAX):
        stage.weak.add(0, operation(f"k{number}"))
    assert stage.region.set("one more", 1) != Version(0, 0)
    assert stage.region.get("one more", level="strong") == 1
