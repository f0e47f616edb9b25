"""Whether it pays to look again at once instead of sleeping until the kernel wakes one.

A sleep and a wake-up cost 20 to 50 us, more on a virtual machine whose other core idles; an answer from a
process of the same machine often takes less. Where looking was in vain it is tried less and less often, so
that somebody who waits long, or a machine with too few cores, loses a hundredth of the time at most.
Knows no clock and no socket.
"""

from __future__ import annotations

from typing import Final

SKIPPED_MAX: Final = 32
"""After many losses in a row one wait in so many is spent looking."""


class SpinBudget:
    """The luck of one waiting place.

    >>> budget = SpinBudget()
    >>> budget.lost(), [budget.is_worth() for _ in range(4)]
    (None, [False, True, True, True])
    >>> budget.lost(), [budget.is_worth() for _ in range(4)]
    (None, [False, False, True, True])
    >>> budget.won(), budget.is_worth()
    (None, True)
    """

    __slots__ = ("_losses", "_skips")

    def __init__(self) -> None:
        self._losses = 0
        self._skips = 0

    def is_worth(self) -> bool:
        """Say whether to look this time; asked once for each wait."""
        if self._skips:
            self._skips -= 1
            return False
        return True

    def won(self, is_crowded: bool = False) -> None:
        """What was waited for came while looking.

        `is_crowded`: others ran on this core meanwhile. Then the next wait is a sleep: whoever is woken is put on
        an idle core if there is one, whoever only gives way stays where it is.
        """
        self._losses = 0
        self._skips = int(is_crowded)

    def lost(self) -> None:
        """It did not come in time."""
        self._losses = min(SKIPPED_MAX, 2 * self._losses or 1)
        self._skips = self._losses
