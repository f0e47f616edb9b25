"""Who may ask an origin now, who waits for it, and who is refused: a limit with a queue that has an end. Pure."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any


class Entrance(enum.Enum):
    """What becomes of a ticket."""

    GO = "go"
    WAIT = "wait"
    FULL = "full"


class LoadSlots:
    """Slots of one origin in one process, first come, first served. Not for threads: the shell holds a lock.

    >>> slots = LoadSlots(1, 1)
    >>> [slots.enter(ticket).value for ticket in "abc"]
    ['go', 'wait', 'full']
    >>> slots.leave(), slots.leave(), slots.taken_count
    ('b', None, 0)
    """

    __slots__ = ("_concurrency_max", "_queue_max", "_waiting", "taken_count")

    def __init__(self, concurrency_max: int, queue_max: int) -> None:
        assert concurrency_max >= 1
        assert queue_max >= 0
        self._concurrency_max = concurrency_max
        self._queue_max = queue_max
        self._waiting: OrderedDict[Any, None] = OrderedDict()
        self.taken_count = 0

    @property
    def waiting_count(self) -> int:
        """How many tickets wait."""
        return len(self._waiting)

    def enter(self, ticket: Any) -> Entrance:
        """Take a slot, or a place in the queue; `ticket` is any hashable that is not in it."""
        assert ticket not in self._waiting
        if self.taken_count < self._concurrency_max:
            assert not self._waiting, "who waits goes first"
            self.taken_count += 1
            return Entrance.GO
        if len(self._waiting) >= self._queue_max:
            return Entrance.FULL
        self._waiting[ticket] = None
        return Entrance.WAIT

    def leave(self) -> Any:
        """Give a slot back; return the ticket that has it now, or None."""
        assert self.taken_count > 0
        if self._waiting:
            return self._waiting.popitem(last=False)[0]
        self.taken_count -= 1
        return None

    def give_up(self, ticket: Any) -> bool:
        """Stop waiting; False when the ticket has a slot by now, which must be given back."""
        if ticket not in self._waiting:
            return False
        del self._waiting[ticket]
        return True
