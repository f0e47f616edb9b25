"""Every rule switched off in turn: which scripted race, or which seed, shows that it is missing.

A rule whose absence nobody notices is tested by nobody. Rules that live in a shell and not in a machine
cannot be switched off here: CHECKED_ELSEWHERE says where they are checked, or that they are not built.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from daycache_ray.simulation import races_of_members, races_of_records, races_of_sessions
from daycache_ray.simulation.world import World

Race = Callable[[frozenset[str]], bool]
RULES: Final = tuple(f"R{number}" for number in range(1, 42))
_FOUND = {**races_of_members.RACES, **races_of_records.RACES, **races_of_sessions.RACES}
RACES: Final[dict[str, Race]] = {rule: _FOUND[rule] for rule in RULES if rule in _FOUND}
CHECKED_ELSEWHERE: Final = {
    "R31": "the store: tests/unit/storage/test_generations.py, tests/kill/test_compaction_kill.py",
    "R34": "not built, beyond a refusal of other time namespaces by the reader",
    "R36": "not built: a lone primary leases from itself",
    "R37": "not built",
    "R39": "not built",
    "R40": "not built",
    "R41": "tests/unit/protocol/test_write_behind.py, tests/kill/test_write_behind_kill.py; not in this world",
}


class Caught(NamedTuple):
    """How the absence of one rule was noticed; `by` is empty when it was not."""

    rule: str
    by: str
    seconds: float
    is_scripted: bool


def catch(rule: str, seeds: Iterable[int] = (), *, scripted: bool = True) -> Caught:
    """Switch a rule off; return what notices it: its race, or else the first of `seeds` that breaks a promise."""
    started = time.process_time()
    race = RACES.get(rule)
    without = frozenset({rule})
    if scripted and race is not None and race(frozenset()) and not race(without):
        return Caught(rule, f"race {race.__name__}", time.process_time() - started, True)
    for seed in seeds:
        try:
            World(seed, without).run()
        except AssertionError:
            return Caught(rule, f"seed {seed}", time.process_time() - started, False)
    return Caught(rule, "", time.process_time() - started, False)
