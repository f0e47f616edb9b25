"""How times are taken: warm-up, interleaved rounds, nanosecond clock, medians over rounds.

It knows calls and clocks, nothing of caches. Every figure of the benches comes through here.

A round gives each case its turn, so that a machine that slows down slows all of them. A ratio of two
cases is taken within each round, and the median of those ratios is reported. Nothing is subtracted
for the clock itself (about 0.05 us a reading on current machines; `clock_us` measures it).
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """One case in one round. `cpu_us` is the processor time an operation took, caller and server."""

    operations_count: int
    p50_us: float
    p95_us: float
    p99_us: float
    mean_us: float
    per_s: float
    cpu_us: float


class Case(NamedTuple):
    """A call that takes one argument, the arguments it gets in turn, and who else works for it.

    `settle` is called after each sample: what the calls left to be done must not burden the next case.
    Its time counts for the rate (`per_s`), which so is what can be kept up, and for no single call.
    """

    call: Callable[[Any], Any]
    arguments: Sequence[Any]
    server_pids: tuple[int, ...] = ()
    settle: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Series:
    """The samples of one case, one a round."""

    samples: tuple[Sample, ...]

    @property
    def median(self) -> Sample:
        """Return each figure's median over the rounds (operations: the sum)."""
        columns = list(zip(*self.samples, strict=True))
        return Sample(sum(columns[0]), *(statistics.median(column) for column in columns[1:]))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value at `share` (0 ... 1) of an ascending sequence: the nearest rank, never between two.

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.99), percentile([], 0.5)
    (2, 4, 0.0)
    """
    if not ordered:
        return 0.0
    return ordered[max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))]


def cpu_seconds(pids: Sequence[int] = ()) -> float:
    """Return processor seconds used so far by this process and by `pids` (gone ones count nothing)."""
    own = time.process_time()
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        own += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return own


def sample(case: Case, duration_s: float, operations_max: int = 200_000) -> Sample:
    """Return one sample: calls one after another for `duration_s`, at most `operations_max`."""
    call, arguments = case.call, case.arguments
    count, clock = len(arguments), time.perf_counter_ns
    taken = array("q")
    add = taken.append
    cpu_before = cpu_seconds(case.server_pids)
    begun = clock()
    until = begun + int(duration_s * 1e9)
    for number in range(operations_max):
        argument = arguments[number % count]
        before = clock()
        call(argument)
        after = clock()
        add(after - before)
        if after >= until:
            break
    if case.settle is not None:
        case.settle()
    wall_ns = clock() - begun
    cpu_us = (cpu_seconds(case.server_pids) - cpu_before) * 1e6 / len(taken)
    return summarise(taken, wall_ns / 1e9, cpu_us)


def summarise(taken_ns: Sequence[int], wall_s: float, cpu_us: float = 0.0) -> Sample:
    """Return the sample of calls that took `taken_ns` nanoseconds each, within `wall_s` seconds."""
    ordered = sorted(taken_ns)
    if not ordered:
        return Sample(0, 0.0, 0.0, 0.0, 0.0, 0.0, cpu_us)
    p50, p95, p99 = (percentile(ordered, share) / 1e3 for share in (0.5, 0.95, 0.99))
    return Sample(
        len(ordered), p50, p95, p99, sum(ordered) / len(ordered) / 1e3, len(ordered) / max(wall_s, 1e-9), cpu_us
    )


def interleaved(
    cases: Mapping[str, Case], *, rounds: int, duration_s: float, warm_up_s: float = 0.05
) -> dict[str, Series]:
    """Return a series for each case: all of them in turn, `rounds` times, after a warm-up each.

    The order turns by one from round to round, so that nobody always runs behind the same neighbour.
    """
    names = list(cases)
    for case in cases.values():
        sample(case, warm_up_s)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            samples[name].append(sample(cases[name], duration_s))
    return {name: Series(tuple(taken)) for name, taken in samples.items()}


def ratio(numerator: Series, denominator: Series, figure: str = "p50_us") -> float:
    """Return the median over rounds of numerator / denominator, both of the same round."""
    pairs = zip(numerator.samples, denominator.samples, strict=True)
    return statistics.median(getattr(upper, figure) / max(getattr(lower, figure), 1e-9) for upper, lower in pairs)


def clock_us() -> float:
    """Return what reading the clock itself costs, in microseconds."""
    return sample(Case(abs, (1,)), 0.02).p50_us


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures: processor, cores, memory, versions, load."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next((int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": cpu,
        "cores_count": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average_at_start": os.getloadavg()[0],
        "clock_us": round(clock_us(), 3),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
