"""Looking before sleeping: how much of it is in vain at most, and that a server falls asleep again."""

from __future__ import annotations

import asyncio

from daycache_ray.structures.spin_budget import SKIPPED_MAX, SpinBudget
from daycache_ray.wire.server import Lingering


def test_who_always_loses_looks_once_in_so_many_waits() -> None:
    budget = SpinBudget()
    looks = 0
    for _ in range(10_000):
        if budget.is_worth():
            looks += 1
            budget.lost()
    assert looks <= 10_000 // SKIPPED_MAX + 10


def test_one_win_ends_a_row_of_losses() -> None:
    budget = SpinBudget()
    for _ in range(5):
        budget.lost()
    while not budget.is_worth():
        pass
    budget.won()
    assert all(budget.is_worth() for _ in range(100))


async def test_a_server_that_nobody_asks_sleeps_again() -> None:
    lingering = Lingering()
    loop = asyncio.get_running_loop()
    lingering.start(loop)
    lingering.begin()
    end_s = loop.time() + 5
    while lingering.is_awake:
        assert loop.time() < end_s
        await asyncio.sleep(0)
    lingering.begin()
    assert not lingering.is_awake, "nothing came the last time, so this time is skipped"
