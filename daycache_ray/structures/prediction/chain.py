"""Follows a sure prediction ahead: what comes after what comes next, up to a few steps.

Only the likeliest key of each step is followed; the others of a step are named when they are likely
enough themselves. Probabilities multiply along the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Place = TypeVar("Place")


class RolledKey(NamedTuple):
    """A key on the way ahead: `probability` of being asked for at `step` accesses from now, 1 is the next."""

    key: int
    probability: float
    step: int


def roll_chain(
    start: Place,
    ranked: Callable[[Place], Sequence[tuple[int, float]]],
    follow: Callable[[Place, int], Place],
    *,
    steps: int,
    floor_ratio: float,
) -> list[RolledKey]:
    """Return the keys of at least `floor_ratio` probability within `steps`, nearest first, each once.

    `ranked(place)` gives (key, probability), best first; `follow(place, key)` the place after a key.

    >>> chain = roll_chain(0, lambda n: [(n + 1, 0.9), (n + 2, 0.1)], lambda n, key: key, steps=3, floor_ratio=0.75)
    >>> [(rolled.key, round(rolled.probability, 2), rolled.step) for rolled in chain]
    [(1, 0.9, 1), (2, 0.81, 2)]
    """
    assert steps >= 1
    assert 0.0 < floor_ratio < 1.0
    found: dict[int, RolledKey] = {}
    place, path = start, 1.0
    for step in range(1, steps + 1):
        names = ranked(place)
        for key, probability in names:
            if path * probability < floor_ratio:
                break
            if key not in found:
                found[key] = RolledKey(key, path * probability, step)
        if not names:
            break
        path *= names[0][1]
        if path < floor_ratio:
            break
        if step < steps:
            place = follow(place, names[0][0])
    return list(found.values())
