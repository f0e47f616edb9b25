"""Which keys (or differences of keys) came after a context, how often, in bounded memory.

Contexts live in two generations: one that is asked for moves to the young one; when that is full the
old one is dropped whole. That is nearly least-recently-used at the price of a dictionary. Counts are
halved when a context has been seen `TOTAL_MAX` times, so old habits fade.

A row is one flat list: total, newest successor, then successor and count in turn, roughly by count.
"""

from __future__ import annotations

from typing import Final, TypeAlias

TOTAL_MAX: Final = 63
"""A row's total is halved beyond this: about the last fifty visits count."""

Row: TypeAlias = list[int]


class SuccessorTable:
    """At most `contexts_max` contexts with at most `successors_max` successors each.

    >>> table = SuccessorTable(contexts_max=64)
    >>> for key in (7, 7, 9): table.learn(1, key)
    >>> table.row(1)
    [3, 9, 7, 2, 9, 1]
    """

    def __init__(self, *, contexts_max: int, successors_max: int = 8) -> None:
        assert contexts_max >= 2
        assert successors_max >= 1
        self._half = contexts_max // 2
        self._width = 2 + 2 * successors_max
        self._young: dict[int, Row] = {}
        self._old: dict[int, Row] = {}

    def __len__(self) -> int:
        """Number of contexts remembered."""
        return len(self._young) + len(self._old)

    def row(self, context: int) -> Row | None:
        """Return what is known of a context, not to be changed by the caller."""
        return self._young.get(context) or self._old.get(context)

    def learn(self, context: int, successor: int) -> None:
        """Count that `successor` came after `context`."""
        row = self._young.get(context)
        if row is None:
            row = self._old.pop(context, None)
            if len(self._young) >= self._half:
                self._old = self._young
                self._young = {}
            if row is None:
                self._young[context] = [1, successor, successor, 1]
                return
            self._young[context] = row
        row[1] = successor
        row[0] += 1
        if row[2] == successor:
            row[3] += 1
        else:
            self._count_later(row, successor)
        if row[0] > TOTAL_MAX:
            _fade(row)

    def _count_later(self, row: Row, successor: int) -> None:
        size = len(row)
        for at in range(4, size, 2):
            if row[at] == successor:
                count = row[at + 1] = row[at + 1] + 1
                if count >= row[at - 1]:  # one step forward: the newer of two equals stands first
                    row[at - 2], row[at - 1], row[at], row[at + 1] = successor, count, row[at - 2], row[at - 1]
                return
        if size < self._width:
            row.append(successor)
            row.append(1)
        else:
            row[-2], row[-1] = successor, 1


def _fade(row: Row) -> None:
    newest = row[1]
    kept = [row[0] >> 1, newest]
    for at in range(2, len(row), 2):
        count = row[at + 1] >> 1
        if count or row[at] == newest:
            kept.append(row[at])
            kept.append(count or 1)
    row[:] = kept
