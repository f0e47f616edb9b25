"""Who is in charge, and whether anybody is: three switches that turn themselves off and on again.

NetworkSwitch: a network that is slow, dead or says NaN is not asked for a while, each time longer.
HarmSwitch: a region whose prefetches are mostly wasted, or miss as often as the holdout, stops.
Contest: tables and network predict the same accesses; the one that was less surprised is in charge.

None of them ever raises or waits: the tables need none of it. It refuses to know what a network is,
and what a prefetch is; it sees times, counts and probabilities.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import NamedTuple


class Trouble(enum.Enum):
    """What can be wrong with a network's answer."""

    SLOW = "slow"
    DEAD = "dead"
    NOT_A_NUMBER = "not a number"


class SwitchSettings(NamedTuple):
    """`failures_max` in a row switch off for `off_s`, doubled at each failed trial up to `off_s_max`."""

    deadline_s: float = 0.25
    failures_max: int = 3
    off_s: float = 5.0
    off_s_max: float = 300.0


@dataclass(frozen=True, slots=True)
class SwitchStatistics:
    """Whether the network is asked, and why not: counts since the start."""

    on: bool
    answers_count: int
    slow_count: int
    dead_count: int
    not_a_number_count: int
    switched_off_count: int


class NetworkSwitch:
    """Off after a few bad answers in a row; after a while one question goes out as a trial."""

    def __init__(self, settings: SwitchSettings) -> None:
        self._settings = settings
        self._failures_in_row = 0
        self._off_until_s = 0.0
        self._off_s = settings.off_s
        self._on = True
        self._trial = False
        self._answers_count = 0
        self._troubles = dict.fromkeys(Trouble, 0)
        self._switched_off_count = 0

    @property
    def on(self) -> bool:
        """Whether the network is trusted at the moment."""
        return self._on

    def may_ask(self, now_s: float) -> bool:
        """Return whether a question may go out; while off, one in a while may, as a trial."""
        if self._on:
            return True
        if self._trial or now_s < self._off_until_s:
            return False
        self._trial = True
        return True

    def answered(self, took_s: float, finite: bool, now_s: float) -> Trouble | None:
        """Note an answer; return what is wrong with it, or None when it may be used."""
        if not finite:
            return self.failed(Trouble.NOT_A_NUMBER, now_s)
        if took_s > self._settings.deadline_s:
            return self.failed(Trouble.SLOW, now_s)
        self._answers_count += 1
        self._failures_in_row = 0
        self._on = True
        self._trial = False
        self._off_s = self._settings.off_s
        return None

    def failed(self, trouble: Trouble, now_s: float) -> Trouble:
        """Note that no usable answer came; returns the trouble given."""
        self._troubles[trouble] += 1
        self._failures_in_row += 1
        if self._trial:
            self._off_s = min(self._off_s * 2.0, self._settings.off_s_max)
            self._off_until_s = now_s + self._off_s
            self._trial = False
        elif self._on and self._failures_in_row >= self._settings.failures_max:
            self._on = False
            self._switched_off_count += 1
            self._off_until_s = now_s + self._off_s
        return trouble

    def statistics(self) -> SwitchStatistics:
        """Return the counts so far."""
        return SwitchStatistics(
            self._on,
            self._answers_count,
            self._troubles[Trouble.SLOW],
            self._troubles[Trouble.DEAD],
            self._troubles[Trouble.NOT_A_NUMBER],
            self._switched_off_count,
        )


class HarmCounts(NamedTuple):
    """Counts since the start, as a prefetch machine has them."""

    saved: int
    wasted: int
    prefetched_asked: int
    prefetched_missed: int
    holdout_asked: int
    holdout_missed: int


class HarmSettings(NamedTuple):
    """When prefetching is harm. Below the `…_min` counts nothing is judged."""

    ended_min: int = 64
    wasted_per_saved_max: float = 3.0
    holdout_min: int = 30
    asked_min: int = 100
    off_s: float = 60.0
    off_s_max: float = 3_600.0


class HarmSwitch:
    """Judges a region's prefetching on what came since the last judgement."""

    def __init__(self, settings: HarmSettings | None = None) -> None:
        self._settings = settings or HarmSettings()
        self._waste_from = HarmCounts(0, 0, 0, 0, 0, 0)
        self._gain_from = self._waste_from
        self._off_until_s = -math.inf
        self._off_s = self._settings.off_s
        self.reason = ""
        """Why it is off, or was last; empty when it never was."""
        self.switched_off_count = 0

    def allowed(self, now_s: float) -> bool:
        """Return whether the region may prefetch now."""
        return now_s >= self._off_until_s

    def judge(self, counts: HarmCounts, now_s: float) -> bool:
        """Judge once enough has come in; return whether the region may prefetch now."""
        if not self.allowed(now_s):
            # What ends while it is off was issued before: it has been judged.
            self._waste_from = self._gain_from = counts
            return False
        reason = self._waste(counts) or self._gain(counts)
        if reason:
            self.reason = reason
            self.switched_off_count += 1
            self._off_until_s = now_s + self._off_s
            self._off_s = min(self._off_s * 2.0, self._settings.off_s_max)
            return False
        return True

    def _waste(self, counts: HarmCounts) -> str:
        saved = counts.saved - self._waste_from.saved
        wasted = counts.wasted - self._waste_from.wasted
        if saved + wasted < self._settings.ended_min:
            return ""
        self._waste_from = counts
        if wasted > saved * self._settings.wasted_per_saved_max:
            return f"{wasted} loads were wasted for {saved} that were asked for"
        self._off_s = self._settings.off_s
        return ""

    def _gain(self, counts: HarmCounts) -> str:
        since = self._gain_from
        held = counts.holdout_asked - since.holdout_asked
        asked = counts.prefetched_asked - since.prefetched_asked
        if held < self._settings.holdout_min or asked < self._settings.asked_min:
            return ""
        self._gain_from = counts
        without = (counts.holdout_missed - since.holdout_missed) / held
        with_it = (counts.prefetched_missed - since.prefetched_missed) / asked
        # Two standard errors in favour of prefetching: a coin's chance must not switch it off.
        error = math.sqrt(without * (1 - without) / held + with_it * (1 - with_it) / asked)
        if with_it - 2.0 * error >= without:
            return f"prefetched keys missed {with_it:.0%}, held-out ones {without:.0%}"
        return ""


class Contest:
    """Tables against network on the same accesses, by mean surprise (negative log likelihood)."""

    def __init__(self, *, warm_count: int = 256, margin_ratio: float = 0.02, memory_count: int = 1_024) -> None:
        assert warm_count > 0
        assert 0.0 <= margin_ratio < 1.0
        self._warm_count = warm_count
        self._margin_ratio = margin_ratio
        self._step = 1.0 / memory_count
        self._tables = 0.0
        self._network = 0.0
        self._count = 0
        self._network_leads = False

    @property
    def network_leads(self) -> bool:
        """Whether the network is in charge; the tables are until it has proved better."""
        return self._network_leads

    @property
    def surprises(self) -> tuple[float, float]:
        """Mean surprise of tables and network in nats; 0.0 before the first comparison."""
        return self._tables, self._network

    @property
    def compared_count(self) -> int:
        """Accesses that both predicted."""
        return self._count

    def compare(self, tables_probability: float, network_probability: float) -> None:
        """Note the probabilities that each had given to what then happened; NaN counts as 0."""
        self._count += 1
        step = max(self._step, 1.0 / self._count)
        self._tables += (_surprise(tables_probability) - self._tables) * step
        self._network += (_surprise(network_probability) - self._network) * step
        if self._count < self._warm_count:
            return
        # The one in charge keeps it within the margin, or two equals would take turns.
        better = self._network < self._tables * (1.0 - self._margin_ratio)
        worse = self._network > self._tables * (1.0 + self._margin_ratio)
        self._network_leads = better or (self._network_leads and not worse)


def _surprise(probability: float) -> float:
    if not probability >= 1e-4:
        probability = 1e-4
    return -math.log(min(probability, 1.0))
