"""A measured figure beside its target, and the grades of a workload. Judges numbers, takes none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

GRADES = (("A", 10_000, 1.0), ("B", 5_000, 5.0), ("C", 1_000, 20.0))
"""Grade, operations a second at least, mean milliseconds at most; both must hold."""


def grade(per_s: float, mean_ms: float) -> str:
    """Return A, B, C, or "-" when a workload reaches none.

    >>> grade(12_000, 0.2), grade(12_000, 3.0), grade(900, 0.1)
    ('A', 'B', '-')
    """
    for name, per_s_min, mean_ms_max in GRADES:
        if per_s >= per_s_min and mean_ms <= mean_ms_max:
            return name
    return "-"


@dataclass(frozen=True)
class Figure:
    """One promise and what was found.

    `judged` is the number that meets the target or does not (a ratio or a time, as `target` says);
    `value` is the time itself in `unit`; `p99_ratio` is printed beside it and judged by nobody.
    """

    name: str
    value: float
    unit: str
    judged: float
    limit: float
    is_upper_limit: bool
    target: str
    how: str
    ratio: float | None = None
    p99_ratio: float | None = None
    p99: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the judged number keeps to the limit."""
        return self.judged <= self.limit if self.is_upper_limit else self.judged >= self.limit

    @property
    def verdict(self) -> str:
        """Return the word to print."""
        return "met" if self.is_met else "not met"

    def as_json(self) -> dict[str, Any]:
        """Return the figure for a report."""
        return {**asdict(self), "is_met": self.is_met}


def ratio_figure(
    name: str, value_us: float, ratio: float, limit: float, *, against: str, how: str, p99_ratio: float, p99_us: float
) -> Figure:
    """Return a figure that must be at least `limit` times as fast as `against`."""
    target = f"at least {limit:g}x {against}"
    return Figure(name, value_us, "us", ratio, limit, False, target, how, ratio, p99_ratio, p99_us)


def limit_figure(
    name: str, value: float, unit: str, limit: float, *, how: str, ratio: float | None = None, p99: float | None = None
) -> Figure:
    """Return a figure whose value must not exceed `limit`."""
    return Figure(name, value, unit, value, limit, True, f"at most {limit:g} {unit}", how, ratio, None, p99)
