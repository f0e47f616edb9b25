"""The least probability worth a prefetch, moved by what prefetching wasted for what it saved."""

from __future__ import annotations


class ThresholdController:
    """0.1 .. 0.4: down while little is wasted, up when too much is."""

    def __init__(self, start_ratio: float = 0.2) -> None:
        self.threshold_ratio = start_ratio

    def saved(self) -> None:
        """Count a prefetched key that was asked for."""

    def wasted(self) -> None:
        """Count a prefetched key that left unasked."""
