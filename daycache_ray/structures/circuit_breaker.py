"""When to leave a failing origin alone, and when to try it again: a circuit breaker with one probe at a time.

After `failures_max` failures in a row the origin is left alone for a random part of `open_s` (full jitter, so that
processes that failed together do not come back together). Then one question is let through, the probe: when it
succeeds everything goes on, when it fails the next pause is up to twice as long. It refuses to know what fails.

Source: Nygard, Release It! (2007), circuit breaker; Brooker, Exponential Backoff And Jitter (AWS, 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

DOUBLINGS_MAX: Final = 3
"""The longest pause is 2^3 times the first: one probe is cheap, and an origin that is back should not be left alone."""


class CircuitBreaker:
    """The state of one origin as one process sees it. Not for threads: the shell holds a lock.

    >>> import random
    >>> breaker = CircuitBreaker(2, 1.0, 30.0, random.Random(1))
    >>> breaker.failed(0.0), breaker.failed(0.0), breaker.wait_s(0.0) > 0
    (False, True, True)
    >>> breaker.take(1.0), breaker.take(1.0), breaker.succeeded(), breaker.take(1.0)
    (True, False, True, True)
    """

    __slots__ = (
        "_doublings_count",
        "_failures_count",
        "_failures_max",
        "_open_s",
        "_probe_s",
        "_probe_until_s",
        "_rng",
        "_until_s",
        "openings_count",
    )

    def __init__(self, failures_max: int | None, open_s: float, probe_s: float, rng: random.Random) -> None:
        """Begin closed.

        Args:
            failures_max: failures in a row that open it, from 1; None: it never opens.
            open_s: longest pause after the first opening, above 0.
            probe_s: after this a probe of which nothing was heard counts as lost, and another may be made.
            rng: where the jitter comes from.
        """
        assert failures_max is None or failures_max >= 1
        assert open_s > 0
        assert probe_s > 0
        self._failures_max = failures_max
        self._open_s = open_s
        self._probe_s = probe_s
        self._rng = rng
        self._failures_count = 0
        self._doublings_count = 0
        self._until_s: float | None = None
        self._probe_until_s: float | None = None
        self.openings_count = 0

    def wait_s(self, now_s: float) -> float:
        """Return how long the origin is left alone from now on, 0 when it may be asked."""
        if self._until_s is None:
            return 0.0
        if self._probe_until_s is not None and now_s < self._probe_until_s:
            return self._probe_until_s - now_s
        return max(0.0, self._until_s - now_s)

    def take(self, now_s: float) -> bool:
        """Return whether the origin may be asked now; the first one after a pause is the probe."""
        if self.wait_s(now_s) > 0:
            return False
        if self._until_s is not None:
            self._probe_until_s = now_s + self._probe_s
        return True

    def succeeded(self) -> bool:
        """The origin answered; return whether that ends an outage."""
        was_open = self._until_s is not None
        self._failures_count = self._doublings_count = 0
        self._until_s = self._probe_until_s = None
        return was_open

    def failed(self, now_s: float) -> bool:
        """The origin failed; return whether it is left alone from now on, and was not before."""
        if self._failures_max is None:
            return False
        if self._until_s is not None:
            # A question that was under way when it opened is no probe, and says nothing new.
            if self._probe_until_s is not None:
                self._doublings_count = min(DOUBLINGS_MAX, self._doublings_count + 1)
                self._pause(now_s)
            return False
        self._failures_count += 1
        if self._failures_count < self._failures_max:
            return False
        self.openings_count += 1
        self._pause(now_s)
        return True

    def gave_up(self) -> None:
        """Whoever asked the origin left without an outcome; if it was the probe, another may be made."""
        self._probe_until_s = None

    def _pause(self, now_s: float) -> None:
        self._until_s = now_s + self._open_s * 2**self._doublings_count * self._rng.random()
        self._probe_until_s = None
