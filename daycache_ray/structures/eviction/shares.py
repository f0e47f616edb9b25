"""Whose entries go when several services share a store: the pure arithmetic of guaranteed shares.

An account is a service with a share of its own, by number; account 0 is everybody else's and has none. What an
account holds beyond its share is its surplus, and only surplus is ever taken: nobody falls below its share because
another one writes. The largest surplus gives first, and the writer's own counts double, so whoever fills the store
mostly pays for itself, but a newcomer among those who borrowed room is not stuck where it began.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

WRITER_FACTOR = 2


def giver(
    used_bytes: Mapping[int, int],
    share_bytes: Mapping[int, int],
    writer: int,
    coming_bytes: int,
    without: Collection[int] = (),
) -> tuple[int, int] | None:
    """Return the account that gives next and what it may give at most; None when nobody may.

    `coming_bytes` is what `writer` is about to store: it counts as its own when it is decided who gives, but what
    it gives is never below its share either.

    >>> giver({0: 50, 1: 100}, {1: 80}, writer=0, coming_bytes=10)
    (0, 50)
    >>> giver({0: 5, 1: 100}, {1: 80}, writer=0, coming_bytes=1)
    (1, 20)
    >>> giver({0: 0, 1: 80}, {1: 80}, writer=0, coming_bytes=10) is None
    True
    """
    assert coming_bytes >= 0
    best: tuple[int, int] | None = None
    best_weight = 0
    for account, used in used_bytes.items():
        surplus = used - share_bytes.get(account, 0)
        if surplus <= 0 or account in without:
            continue
        weight = (surplus + coming_bytes) * WRITER_FACTOR if account == writer else surplus
        if weight > best_weight:
            best, best_weight = (account, surplus), weight
    return best


def reserved_bytes(used_bytes: Mapping[int, int], share_bytes: Mapping[int, int], writer: int) -> int:
    """Return what the others are guaranteed and do not use: where nothing is evicted it must stay free for them.

    >>> reserved_bytes({1: 30}, {1: 80, 2: 10}, writer=0), reserved_bytes({1: 30}, {1: 80, 2: 10}, writer=1)
    (60, 10)
    """
    return sum(
        max(0, share - used_bytes.get(account, 0)) for account, share in share_bytes.items() if account != writer
    )


class Promised:
    """Victims that were proposed and are still there: what they will free is not asked for twice."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.bytes_of: dict[int, int] = {}
        self.total_bytes = 0

    def add(self, account: int, keys: Collection[bytes], freed_bytes: int) -> None:
        """Note victims of an account."""
        self.keys.update(keys)
        self.bytes_of[account] = self.bytes_of.get(account, 0) + freed_bytes
        self.total_bytes += freed_bytes

    def clear(self) -> None:
        """They are gone, or will not go."""
        self.keys.clear()
        self.bytes_of.clear()
        self.total_bytes = 0
