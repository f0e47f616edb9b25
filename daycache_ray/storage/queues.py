"""The eviction queues of one generation: two for each account, and who gives when there is no room.

What has low priority stands in a queue of its own, which is emptied before the other: the hands never search for it.
An account whose share protects it costs nothing to skip, for its queues are not walked at all. Which account gives is
decided in structures/eviction/shares.py; here its answer is put together with the hands of the queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import lmdb

from daycache_ray.storage.hands import QUEUE_SHIFT, Hands, Wish
from daycache_ray.storage.state import State
from daycache_ray.storage.visited_page import VisitedPage
from daycache_ray.structures.eviction.shares import Promised, giver

PART_BYTES_MIN: Final = 64 * 1024
"""So much is taken from one account before it is looked again whose turn it is, or an eighth of what is needed."""


class Asked(NamedTuple):
    """What a store is asked to free, by whom, and whom it may not touch."""

    bytes_needed: int
    count_max: int
    writer: int
    """The account of whoever writes, by number."""
    coming_bytes: int
    share_bytes: Mapping[int, int]
    """Shares by account."""
    promised: Promised


class Queues:
    """The hands of all queues that were ever asked for victims."""

    def __init__(self) -> None:
        self._hands: dict[int, Hands] = {}

    def came(self, key: bytes, order: int) -> None:
        """A new key stands in its queue."""
        hands = self._hands.get(order >> QUEUE_SHIFT)
        if hands is not None:
            hands.came(key, order)

    def went(self, order: int) -> None:
        """An entry left its queue."""
        hands = self._hands.get(order >> QUEUE_SHIFT)
        if hands is not None:
            hands.went(order)

    def hands(self, queue: int) -> Hands:
        """Return the hands of a queue."""
        hands = self._hands.get(queue)
        if hands is None:
            hands = self._hands[queue] = Hands(queue)
        return hands

    def victims(
        self,
        transaction: lmdb.Transaction[bytes],
        order: Any,
        data: Any,
        state: State,
        visited: VisitedPage,
        asked: Asked,
        *,
        has_young: bool,
    ) -> list[tuple[bytes, bytes]]:
        """Return (key, record) of entries to evict, and note them as promised; none of a protected share."""
        promised = asked.promised
        found: list[tuple[bytes, bytes]] = []
        used = {
            account: state.used_of(account) - promised.bytes_of.get(account, 0)
            for account in range(len(state.services) + 1)
        }
        empty: set[int] = set()
        missing = asked.bytes_needed
        part = missing if len(used) == 1 else max(PART_BYTES_MIN, missing // 8)
        while missing > 0 and len(found) < asked.count_max:
            chosen = giver(used, asked.share_bytes, asked.writer, asked.coming_bytes, empty)
            if chosen is None:
                break
            account, surplus = chosen
            # A share is a floor; without one an account may give more than is needed, by a part of its last entry.
            bytes_max = surplus if account in asked.share_bytes else surplus + missing
            freed_of_account = 0
            for queue in (2 * account + 1, 2 * account):
                entries_count = state.count_of(queue)
                wanted = min(part, missing, surplus) - freed_of_account
                count_max = asked.count_max - len(found)
                if wanted <= 0 or not entries_count or not count_max:
                    continue
                records, freed = self.hands(queue).victims(
                    transaction,
                    order,
                    data,
                    visited,
                    entries_count=entries_count,
                    next_order=state.next_order,
                    wish=Wish(wanted, bytes_max - freed_of_account, count_max, promised.keys),
                    # What goes first anyway has no youth to prove itself in.
                    has_young=has_young and not queue & 1,
                )
                found.extend(records.items())
                promised.add(account, records.keys(), freed)
                freed_of_account += freed
            if not freed_of_account:
                empty.add(account)
            used[account] -= freed_of_account
            missing -= freed_of_account
        return found
