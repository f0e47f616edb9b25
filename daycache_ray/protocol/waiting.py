"""Requests that are parked until the commit has reached what their answer depends on (R18, R22)."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from daycache_ray.words.operations import OperationResult

Parked = tuple[int, int, int, tuple[OperationResult, ...] | None, tuple[bytes, ...] | list[bytes] | None]
"""(lsn, number, token, results of a write | None, keys of a read | None)"""


class Waiting:
    """A heap by LSN; `number` keeps equal LSNs in the order of arrival."""

    __slots__ = ("heap", "number")

    def __init__(self) -> None:
        self.heap: list[Parked] = []
        self.number = 0

    def park_write(self, lsn: int, token: int, results: tuple[OperationResult, ...]) -> None:
        """Answer `token` with `results` once `lsn` is committed."""
        self.number += 1
        heappush(self.heap, (lsn, self.number, token, results, None))

    def park_read(self, lsn: int, token: int, keys: tuple[bytes, ...] | list[bytes]) -> None:
        """Look again at the read of `keys` once `lsn` is committed."""
        self.number += 1
        heappush(self.heap, (lsn, self.number, token, None, keys))

    def ready(self, commit_lsn: int) -> Iterator[Parked]:
        """Take out what waited for an LSN up to `commit_lsn`, lowest first."""
        heap = self.heap
        while heap and heap[0][0] <= commit_lsn:
            yield heappop(heap)

    def take_all(self) -> list[Parked]:
        """Take out everything: this replica is no longer primary."""
        parked, self.heap = sorted(self.heap, key=lambda one: one[1]), []
        return parked
