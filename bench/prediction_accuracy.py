"""How often the next key was the first, or among the first 5 or 10, that a predictor named.

Counted in the second half of the one pass, each prediction made before its key was learned. A key that
was not named is no hit; equals keep the order in which they were named.

A stream is one client of one service, and a prediction is judged by the next key of its own stream. Where
a client asks for two services in turn that is easier than to name the client's next key, so the figures
compare with the order-2 table beside them, which has the same streams, and not with a trace's `pbest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Accuracy:
    """Counts of predictions and of those that held."""

    predictions: int = 0
    first: int = 0
    among5: int = 0
    among10: int = 0

    def count(self, named: Sequence[int], key: int) -> None:
        """Count one prediction: at most ten keys, best first."""
        self.predictions += 1
        if key in named:
            place = named.index(key)
            self.first += place < 1
            self.among5 += place < 5
            self.among10 += place < 10

    def ratios(self) -> tuple[float, float, float]:
        """Return top-1, top-5 and top-10."""
        whole = max(self.predictions, 1)
        return self.first / whole, self.among5 / whole, self.among10 / whole
