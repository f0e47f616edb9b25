"""Spares of the fleet, with actors that are no actors: who gets one, and who waits for one that is starting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daycache_ray.actors.fleet import Fleet


class Method:
    def __init__(self, answer: Any, gate: asyncio.Event) -> None:
        self._answer, self._gate = answer, gate

    async def remote(self) -> Any:
        await self._gate.wait()
        return self._answer


class Handle:
    def __init__(self) -> None:
        self.born, self.closed = asyncio.Event(), asyncio.Event()
        self.ping, self.node = Method(None, self.born), Method("aa" * 28, self.born)
        self.wait_closed = Method(None, self.closed)


@pytest.fixture
def made() -> list[Handle]:
    return []


def fleet_of(made: list[Handle]) -> Fleet:
    async def dead(name: str) -> None:
        raise AssertionError(f"{name} did not die")

    def create(**options: Any) -> Handle:
        made.append(Handle())
        return made[-1]

    return Fleet("shop", create, first_number=1, on_death=dead, on_change=lambda: None)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_seat_takes_the_spare_that_is_starting(made: list[Handle]) -> None:
    fleet = fleet_of(made)
    coming = asyncio.ensure_future(fleet.add_spare(None))
    await settle()
    seat = asyncio.ensure_future(fleet.obtain("aa" * 28))
    await settle()
    assert len(made) == 1
    assert not seat.done()
    made[0].born.set()
    await coming
    name, handle = await seat
    assert handle is made[0]
    assert (len(made), fleet.spares) == (1, [])
    assert name.endswith(":1")


async def test_without_a_spare_of_the_node_one_is_created(made: list[Handle]) -> None:
    fleet = fleet_of(made)
    fleet.spares.append(("other", "there"))
    seat = asyncio.ensure_future(fleet.obtain("aa" * 28))
    await settle()
    made[0].born.set()
    _, handle = await seat
    assert handle is made[0]
    assert fleet.spares == [("other", "there")]
