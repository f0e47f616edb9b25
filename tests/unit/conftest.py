"""A unit test starts no Ray, opens no socket and does not sleep: here each of these fails, and says what to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import ray


class UnitTestError(AssertionError):
    """A unit test that reaches outside the process or waits for the clock."""


def _refuse(message: str) -> Callable[..., NoReturn]:
    def refused(*_: Any, **__: Any) -> NoReturn:
        raise UnitTestError(message)

    return refused


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        time, "sleep", _refuse("a unit test sleeps: pass the time as an argument, or move the test to tests/cluster")
    )
    # socketpair stays: an asyncio loop wakes itself through one.
    for name in ("connect", "connect_ex", "bind", "listen"):
        monkeypatch.setattr(
            socket.socket,
            name,
            _refuse("a unit test opens a socket: hand both ends of a socketpair over, or move it to tests/cluster"),
            raising=False,
        )
    monkeypatch.setattr(
        ray, "init", _refuse("a unit test starts Ray: test what decides without it, or move it to tests/cluster")
    )
