"""Carries a difference of keys from one pair to the next: names keys that nobody has asked for yet.

After "quote:AAPL" clients ask for "candle:AAPL:0931", a minute later for "candle:AAPL:0932". The key
is new, but the way from type "quote" to type "candle" was walked a moment ago for another symbol:
the same difference is tried from here. How often it held last time is kept with it.
"""

from __future__ import annotations

from typing import Final

_MIX: Final = 0xD6E8FEB86659FD93
_MASK: Final = (1 << 64) - 1
_RATE: Final = 0.1
"""Weight of the newest outcome in the running share of differences that held."""


class FieldTransfer:
    """The newest difference for each pair of types, at most `pairs_max` pairs."""

    def __init__(self, *, pairs_max: int) -> None:
        assert pairs_max >= 2
        self._half = pairs_max // 2
        self._young: dict[int, tuple[int, float]] = {}
        self._old: dict[int, tuple[int, float]] = {}

    def __len__(self) -> int:
        """Number of pairs of types remembered."""
        return len(self._young) + len(self._old)

    def difference(self, kind: int, next_kind: int) -> tuple[int, float] | None:
        """Return (difference, share of the time that the newest difference held), or None."""
        pair = kind * _MIX + next_kind & _MASK
        return self._young.get(pair) or self._old.get(pair)

    def learn(self, kind: int, next_kind: int, difference: int) -> None:
        """Count that a key of `next_kind` came `difference` after one of `kind`."""
        pair = kind * _MIX + next_kind & _MASK
        known = self._young.get(pair)
        if known is None:
            known = self._old.pop(pair, None)
            if len(self._young) >= self._half:
                self._old = self._young
                self._young = {}
            if known is None:
                self._young[pair] = (difference, 0.5)
                return
        held = known[1] + _RATE * ((difference == known[0]) - known[1])
        self._young[pair] = (difference, held)
