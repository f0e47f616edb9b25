"""Fill leases: the right to load one missing key, given to one asker at a time (R32).

Any write of the key voids the right, so that a loader that was slow can never put an old value over a
newer one. Rights live in the primary's memory only: a failover voids them all.
"""

from __future__ import annotations

from typing import NamedTuple


class Waiter(NamedTuple):
    """An asker that waits for the load of another; `deadline_ns` would be its own."""

    token: int
    connection: int
    deadline_ns: int
    is_write: bool = False


class Fill:
    """One key that somebody is loading, or whose origin somebody is writing."""

    __slots__ = ("connection", "deadline_ns", "is_write", "key", "number", "row_lsn", "waiters")

    def __init__(
        self, number: int, key: bytes, connection: int, deadline_ns: int, is_write: bool, row_lsn: int
    ) -> None:
        self.is_write = is_write
        self.number = number
        self.key = key
        self.connection = connection
        self.deadline_ns = deadline_ns
        self.row_lsn = row_lsn
        """What invalidations of tags up to here hid, the origin has changed before it is asked."""
        self.waiters: list[Waiter] = []


class FillLeases:
    """Who loads what. Numbers are unique as long as `first_number` grows from life to life."""

    __slots__ = ("_abandoned", "by_key", "by_number", "next_number", "row_lsn")

    def __init__(self, first_number: int, row_lsn: int = 0) -> None:
        self.next_number = first_number
        self.row_lsn = row_lsn
        """No tag was invalidated after this LSN."""
        self.by_key: dict[bytes, Fill] = {}
        self.by_number: dict[int, Fill] = {}
        self._abandoned: list[bytes] = []

    def ask(
        self, token: int, connection: int, key: bytes, deadline_ns: int, wait: bool, is_write: bool = False
    ) -> int | None:
        """Return the number of the right, -1 when another loads, or None: answered when that one is done."""
        fill = self.by_key.get(key)
        if fill is None:
            return self._grant(key, connection, deadline_ns, is_write)
        if not wait:
            return -1
        fill.waiters.append(Waiter(token, connection, deadline_ns, is_write))
        return None

    def end(self, number: int) -> Fill | None:
        """Take a right back; None when it was no longer valid."""
        fill = self.by_number.pop(number, None)
        if fill is not None:
            del self.by_key[fill.key]
        return fill

    def void(self, key: bytes) -> tuple[Waiter, ...]:
        """Void the right for a key that was written; return who waited."""
        fill = self.by_key.get(key)
        if fill is None:
            return ()
        self.end(fill.number)
        return tuple(fill.waiters)

    def void_load(self, key: bytes) -> tuple[Waiter, ...]:
        """Void the right for a key whose origin is about to be written, unless it is a writer's itself."""
        fill = self.by_key.get(key)
        return () if fill is None or fill.is_write else self.void(key)

    def take_abandoned(self) -> list[bytes]:
        """Return the keys of writes that ended without an outcome since the last call."""
        keys, self._abandoned = self._abandoned, []
        return keys

    def void_all(self) -> tuple[Waiter, ...]:
        """Void every right; return who waited."""
        waiters = tuple(waiter for fill in self.by_number.values() for waiter in fill.waiters)
        self.by_key.clear()
        self.by_number.clear()
        return waiters

    def close(self, connection: int, now_ns: int) -> list[tuple[Waiter, int]]:
        """Free what a closed connection held; return (waiter, number) of those who load instead."""
        for fill in self.by_number.values():
            fill.waiters = [waiter for waiter in fill.waiters if waiter.connection != connection]
        return self._hand_on([fill for fill in self.by_number.values() if fill.connection == connection], now_ns)

    def expire(self, now_ns: int) -> list[tuple[Waiter, int]]:
        """Free what is past its deadline; return (waiter, number) of those who load instead."""
        return self._hand_on([fill for fill in self.by_number.values() if fill.deadline_ns <= now_ns], now_ns)

    def is_older(self, row_lsn: int) -> bool:
        """Return whether somebody loads who may have asked the origin before `row_lsn`."""
        return any(fill.row_lsn < row_lsn for fill in self.by_number.values())

    def next_deadline_ns(self) -> int | None:
        """Return when `expire` has something to do, None when nothing is being loaded."""
        return min((fill.deadline_ns for fill in self.by_number.values()), default=None)

    def _grant(self, key: bytes, connection: int, deadline_ns: int, is_write: bool) -> int:
        fill = Fill(self.next_number, key, connection, deadline_ns, is_write, self.row_lsn)
        self.next_number += 1
        self.by_key[key] = self.by_number[fill.number] = fill
        return fill.number

    def _hand_on(self, ended: list[Fill], now_ns: int) -> list[tuple[Waiter, int]]:
        heirs: list[tuple[Waiter, int]] = []
        for fill in ended:
            self.end(fill.number)
            if fill.is_write:
                self._abandoned.append(fill.key)
            alive = [waiter for waiter in fill.waiters if waiter.deadline_ns > now_ns]
            late = [waiter for waiter in fill.waiters if waiter.deadline_ns <= now_ns]
            heirs.extend((waiter, 0) for waiter in late)
            if alive:
                heir = alive[0]
                number = self._grant(fill.key, heir.connection, heir.deadline_ns, heir.is_write)
                self.by_number[number].waiters = alive[1:]
                heirs.append((heir, number))
        return heirs
