"""Callers that share a loader: questions put together, slots, errors for all, nobody left waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from daycache_ray.origins.loading import resolve_loader
from daycache_ray.origins.queued import KEYS_PER_BATCH, QueuedLoader
from daycache_ray.structures.load_slots import LoadSlots
from daycache_ray.words.errors import BackpressureError, LoadError
from daycache_ray.words.ports import MISSING


class Gate:
    """A batch loader that waits at a gate."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.open = threading.Event()
        self.fails = False

    def load_many(self, keys: Sequence[str]) -> dict[str, str]:
        self.asked.append(tuple(keys))
        assert self.open.wait(20)
        if self.fails:
            raise OSError("down")
        return {key: key.upper() for key in keys if key != "nowhere"}


def queued(loader: Any, *, at_once: int = 1, queue_max: int = 100, window_s: float = 0.0, queue_s: float = 20.0) -> Any:
    """Return a loader behind a queue."""
    slots = LoadSlots(at_once, queue_max)
    return QueuedLoader(resolve_loader(loader), label="here", slots=slots, window_s=window_s, queue_s=queue_s)


def in_threads(calls: Sequence[Callable[[], Any]]) -> tuple[list[threading.Thread], list[Any]]:
    """Begin calls; return their threads and where their outcomes will be."""
    outcomes: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            outcomes[number] = calls[number]()
        except Exception as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    return threads, outcomes


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    for _ in range(2_000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come true in time")


def test_who_waits_for_a_slot_shares_one_question() -> None:
    gate = Gate()
    loader = queued(gate)
    first, first_outcome = in_threads([lambda: loader.load("a")])
    until(lambda: len(gate.asked) == 1)
    others, outcomes = in_threads([lambda n=n: loader.load(f"k{n}") for n in range(20)])
    until(lambda: loader._batch is not None and len(loader._batch.keys) == 20)
    gate.open.set()
    for thread in (*first, *others):
        thread.join(20)
    assert first_outcome == ["A"]
    assert outcomes == [f"K{n}" for n in range(20)]
    assert [len(keys) for keys in gate.asked] == [1, 20]
    assert (loader._slots.taken_count, loader._slots.waiting_count) == (0, 0)


def test_an_error_is_everybody_s_and_the_next_question_is_asked() -> None:
    gate = Gate()
    gate.fails = True
    loader = queued(gate)
    first, _ = in_threads([lambda: loader.load("a")])
    until(lambda: len(gate.asked) == 1)
    others, outcomes = in_threads([lambda n=n: loader.load(f"k{n}") for n in range(3)])
    until(lambda: loader._batch is not None and len(loader._batch.keys) == 3)
    gate.open.set()
    for thread in (*first, *others):
        thread.join(20)
    assert all(isinstance(outcome, LoadError) for outcome in outcomes)
    gate.fails = False
    assert loader.load("a") == "A"
    assert loader.load("nowhere") is MISSING


def test_a_batch_ends_at_its_largest_size() -> None:
    gate = Gate()
    gate.open.set()
    loader = queued(gate, window_s=0.2, at_once=4)
    threads, outcomes = in_threads(
        [lambda part=part: loader.load_many([f"{part}-{n}" for n in range(KEYS_PER_BATCH // 2 + 1)]) for part in "ab"]
    )
    for thread in threads:
        thread.join(20)
    assert [len(found) for found in outcomes] == [KEYS_PER_BATCH // 2 + 1] * 2
    assert len(gate.asked) == 2


def test_a_queue_has_an_end_and_a_patience() -> None:
    release = threading.Event()
    loader = queued(lambda key: release.wait(20), queue_max=1, queue_s=0.2)
    threads, _ = in_threads([lambda: loader.load("a")])
    until(lambda: loader._slots.taken_count == 1)
    waiting, outcomes = in_threads([lambda: loader.load("b")])
    until(lambda: loader._slots.waiting_count == 1)
    with pytest.raises(BackpressureError, match="load_queue_max"):
        loader.load("c")
    waiting[0].join(20)
    assert isinstance(outcomes[0], BackpressureError), "waited longer than its caller"
    release.set()
    threads[0].join(20)
    assert loader.load("d") is True
    assert (loader._slots.taken_count, loader._slots.waiting_count) == (0, 0)


async def test_a_cancelled_leader_takes_nobody_along() -> None:
    asked: list[tuple[str, ...]] = []

    class Origin:
        async def load_many(self, keys: Sequence[str]) -> dict[str, str]:
            asked.append(tuple(keys))
            return {key: key.upper() for key in keys}

    loader = queued(Origin(), window_s=0.05)
    leader = asyncio.ensure_future(loader.aload("a"))
    await asyncio.sleep(0)
    other = asyncio.ensure_future(loader.aload("b"))
    await asyncio.sleep(0)
    leader.cancel()
    assert await other == "B"
    assert asked == [("a", "b")]


async def test_a_cancelled_waiter_gives_its_place_up() -> None:
    release = asyncio.Event()

    async def load(key: str) -> str:
        await release.wait()
        return key

    loader = queued(load)
    first, second, third = (asyncio.ensure_future(loader.aload(key)) for key in "abc")
    await asyncio.sleep(0.01)
    assert loader._slots.waiting_count == 2
    second.cancel()
    await asyncio.sleep(0.01)
    release.set()
    assert await asyncio.gather(first, third) == ["a", "c"]
    assert (loader._slots.taken_count, loader._slots.waiting_count) == (0, 0)


def test_a_key_is_inside_its_own_load_only() -> None:
    chains: list[str] = []

    def load(key: str) -> str:
        chains.extend([loader.chain_to(key), loader.chain_to("other")])
        return key

    loader = queued(load)
    assert loader.load("a") == "a"
    assert chains == ["'a'", ""]
    assert loader.chain_to("a") == ""
