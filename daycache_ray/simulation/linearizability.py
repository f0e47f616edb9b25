"""Whether the calls of one key can be put into an order that a single copy would have answered so.

Depth-first over the calls that may be next (those that began before the earliest unfinished return),
with a memory of (which calls are placed, state), after Wing and Gong (1993) and Lowe (2017). A call of
unknown outcome has no end and may be left out; those are tried last. Exponential only in calls at one
time: keep those few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

FOREVER: Final = 1 << 62
STEPS_MAX: Final = 1_000_000


class Call(NamedTuple):
    """One call on one key.

    `kind`: read, write, delete, add, swap (compare-and-set by value) or increment. `known` False: its
    outcome was never heard. `done`: whether it said to have had its effect. `seen`: the value that a
    read, a refused swap or an increment returned; None is an absent key.
    """

    start_ns: int
    end_ns: int
    kind: str
    argument: Any = None
    expected: Any = None
    done: bool = True
    seen: Any = None
    known: bool = True


class Undecided(Exception):
    """The search took too many steps; nothing is proved."""


def is_linearizable(calls: Sequence[Call], initial: Any = None, steps_max: int = STEPS_MAX) -> bool:
    """Return whether the calls fit one copy that holds `initial` at first (None: absent).

    Raises:
        Undecided: after `steps_max` steps; split the history or use fewer clients.
    """
    calls = sorted((call for call in calls if call.known or call.kind != "read"), key=lambda call: call.start_ns)
    count = len(calls)
    required = sum(1 << place for place, call in enumerate(calls) if call.known)
    seen: set[tuple[int, Any]] = set()
    stack: list[tuple[int, Any, int]] = [(0, initial, 0)]
    steps = 0
    while stack:
        placed, state, first = stack.pop()
        if placed & required == required:
            return True
        if (placed, state) in seen:
            continue
        seen.add((placed, state))
        while placed >> first & 1:
            first += 1
        earliest_end = FOREVER + 1
        beyond = count
        for place in range(first, count):
            call = calls[place]
            if placed >> place & 1:
                continue
            if call.start_ns > earliest_end:
                beyond = place
                break
            earliest_end = min(earliest_end, call.end_ns if call.known else FOREVER)
        hopeful: list[tuple[int, Any, int]] = []
        desperate: list[tuple[int, Any, int]] = []
        for place in range(beyond - 1, first - 1, -1):
            call = calls[place]
            if placed >> place & 1 or call.start_ns > earliest_end:
                continue
            steps += 1
            if steps > steps_max:
                raise Undecided(f"{count} calls, {steps_max} steps")
            fits, after = _apply(call, state)
            if not fits:
                continue
            if call.known:
                hopeful.append((placed | 1 << place, after, first))
                if after == state:
                    # What changes nothing can come first: every order that goes on from here allows that.
                    hopeful = hopeful[-1:]
                    desperate.clear()
                    break
            elif after != state:
                desperate.append((placed | 1 << place, after, first))
        stack += desperate
        stack += hopeful
    return False


def _apply(call: Call, state: Any) -> tuple[bool, Any]:
    """Return whether the call can happen in `state`, and the state after it."""
    kind = call.kind
    if kind == "read":
        return call.seen == state, state
    if kind == "write":
        return True, call.argument
    if kind == "increment":
        after = (state or 0) + call.argument
        return not call.known or call.seen == after, after
    if kind == "delete":
        happens, after = state is not None, None
    elif kind == "add":
        happens, after = state is None, call.argument
    else:
        assert kind == "swap", kind
        happens, after = state == call.expected, call.argument
        if call.known and not call.done and call.seen != state:
            return False, state
    if call.known and call.done != happens:
        return False, state
    return True, after if happens else state
