"""What one client asked for last, folded into the contexts under which successors are remembered.

A history is never changed: the next one is made from it, for what a client did ask for and equally
for what it would have asked for if a guess came true. It knows keys only as numbers.
"""

from __future__ import annotations

from typing import Final

MASK: Final = (1 << 64) - 1
_MIX: Final = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: spreads contexts, so that two of them meet only by chance."""


class History:
    """The last accesses of one client as contexts; `after` gives the history one access later."""

    __slots__ = (
        "delta",
        "delta2",
        "earlier",
        "key",
        "order2",
        "order3",
        "private",
        "repeats",
        "salt",
        "type",
        "types2",
        "types3",
    )

    def __init__(self, salt: int, key: int, kind: int) -> None:
        self.salt = salt
        self.key = key
        self.type = kind
        self.order2 = self.order3 = key
        self.private = salt + key & MASK
        self.types2 = self.types3 = kind
        self.delta = self.delta2 = 0
        self.repeats = 0
        """How often in a row the last difference of keys has come."""
        self.earlier: tuple[int, ...] = ()
        """Up to three keys before `key`, latest first."""

    def after(self, key: int, kind: int) -> History:
        """Return the history once `key` of type `kind` has been asked for next."""
        new = History.__new__(History)
        salt = new.salt = self.salt
        new.key = key
        new.type = kind
        new.order2 = self.key * _MIX + key & MASK
        new.order3 = self.order2 * _MIX + key & MASK
        new.private = salt + key & MASK
        new.types2 = self.type * _MIX + kind & MASK
        new.types3 = self.types2 * _MIX + kind & MASK
        delta = key - self.key
        new.delta = delta
        new.delta2 = self.delta * _MIX + delta & MASK
        new.repeats = self.repeats + 1 if delta == self.delta else 0
        new.earlier = (self.key, *self.earlier[:2])
        return new


def client_salt(client: int) -> int:
    """Return what sets one client's private contexts apart from another's."""
    return (client + 1) * _MIX & MASK
