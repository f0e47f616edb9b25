"""The guard of this suite refuses what a unit test must not do."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import ray


def test_sleeping_is_refused() -> None:
    with pytest.raises(AssertionError, match="a unit test sleeps: pass the time as an argument"):
        time.sleep(0)


@pytest.mark.parametrize("call", ["connect", "bind"])
def test_sockets_are_refused(call: str) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as opened,
        pytest.raises(AssertionError, match="a unit test opens a socket"),
    ):
        getattr(opened, call)(("127.0.0.1", 0))


def test_ray_is_refused() -> None:
    with pytest.raises(AssertionError, match="a unit test starts Ray"):
        ray.init(address="local", include_dashboard=False)


async def test_an_event_loop_still_runs() -> None:
    await asyncio.sleep(0)
