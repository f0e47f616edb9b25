"""The eviction queues of a store, counted by whoever walks its records: for `verify.py`."""

from __future__ import annotations

from collections.abc import Iterator

from daycache_ray.storage.hands import QUEUE_SHIFT
from daycache_ray.storage.state import NOTHING, State
from daycache_ray.structures.store_keys import split_store_key
from daycache_ray.words.records import PRIORITY_MASK, Header, Priority


class CountedQueues:
    """Bytes and entries of each queue but queue 0, beside what the state says."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._found: dict[int, tuple[int, int]] = {}

    def add(self, key: bytes, header: Header, cost_bytes: int) -> str:
        """Count an entry, and return what is wrong with the queue it stands in, "" when nothing is."""
        queue, number = divmod(header.order, 1 << QUEUE_SHIFT)
        if queue:
            size, entries = self._found.get(queue, NOTHING)
            self._found[queue] = (size + cost_bytes, entries + 1)
        services, account = self._state.services, queue >> 1
        if header.lsn > self._state.last_lsn or number >= self._state.next_order:
            return f"LSN {header.lsn} or place {header.order} were never given"
        if account > len(services) or (account and services[account - 1] != split_store_key(key)[0]):
            return f"stands in the queue of account {account}, which is not its service's"
        priority = header.reserved & PRIORITY_MASK
        if bool(queue & 1) != (priority == Priority.LOW):
            return f"stands in eviction queue {queue} with priority {priority}"
        return ""

    def pairs(self) -> Iterator[tuple[str, int, int]]:
        """Yield what was counted and what the state says, with what it is."""
        for queue in sorted(self._found.keys() | self._state.queues.keys()):
            found, noted = self._found.get(queue, NOTHING), self._state.queues.get(queue, NOTHING)
            yield f"bytes of eviction queue {queue}", found[0], noted[0]
            yield f"entries of eviction queue {queue}", found[1], noted[1]
