"""What a service's clients will ask for next: tables nominate, a regression ranks, chains roll forward.

Keys are 64-bit numbers in which the high bits (from `type_shift` on) say what kind of thing a key is
and the low bits which one, so that differences of keys mean something; `key_numbers` makes such
numbers from text and text from numbers. This file knows nothing of caches, time or networks.
"""

from __future__ import annotations

from typing import NamedTuple


class RolledKey(NamedTuple):
    """A key on the way ahead: `probability` of being asked for within `step` accesses, 1 is the next one."""

    key: int
    probability: float
    step: int


class Predictor:
    """One predictor per service; a stream per client; memory bounded by the sizes given here.

    Call `observe` for every access, in the client's order; then `predict` or `roll` when the answer is
    wanted. A prediction that was asked for is learned from at the client's next access.
    """

    def __init__(self, *, type_shift: int = 44, contexts_max: int = 1 << 16, clients_max: int = 1024) -> None:
        raise NotImplementedError

    def observe(self, client: int, key: int) -> None:
        """Learn that `client` asked for `key`: 0 .. 2**64 - 1."""
        raise NotImplementedError

    def predict(self, client: int, count: int = 10) -> list[tuple[int, float]]:
        """Return the likeliest next keys of `client`, best first, with their probabilities (sum <= 1)."""
        raise NotImplementedError

    def roll(self, client: int, steps: int, floor_ratio: float) -> list[RolledKey]:
        """Return keys of at least `floor_ratio` probability within `steps` (1 .. 16) accesses, nearest first."""
        raise NotImplementedError
