"""Many seeds: played one after another, or in several processes, and added up.

It stops at the first seed that breaks a promise. It refuses to know what a world is made of.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from daycache_ray.simulation.swarm import Narrowing
from daycache_ray.simulation.world import WHOLE, World

CHUNK_SEEDS = 25


class Failure(NamedTuple):
    """A seed that broke a promise; `kind` is the name of the exception."""

    seed: int
    kind: str
    message: str


class Series(NamedTuple):
    """What some seeds did together; `cpu_s` is processor time, added over the processes."""

    seeds_count: int
    calls_count: int
    events_count: int
    undecided_count: int
    cpu_s: float
    faults: Counter[str]
    branches: Counter[str]
    failure: Failure | None

    def plus(self, other: Series) -> Series:
        """Return both together."""
        return Series(
            self.seeds_count + other.seeds_count,
            self.calls_count + other.calls_count,
            self.events_count + other.events_count,
            self.undecided_count + other.undecided_count,
            self.cpu_s + other.cpu_s,
            self.faults + other.faults,
            self.branches + other.branches,
            self.failure or other.failure,
        )

    @property
    def calls_per_cpu_s(self) -> float:
        """Simulated operations in a second of processor time."""
        return self.calls_count / self.cpu_s if self.cpu_s else 0.0


NOTHING = Series(0, 0, 0, 0, 0.0, Counter(), Counter(), None)


def failure_of(seed: int, without: frozenset[str] = frozenset(), narrowing: Narrowing = WHOLE) -> Failure | None:
    """Play one seed; return how it failed, None when every promise was kept."""
    try:
        World(seed, without, narrowing=narrowing).run()
    except Exception as error:
        return Failure(seed, type(error).__name__, str(error))
    return None


def play(
    seeds: range, without: frozenset[str] = frozenset(), narrowing: Narrowing = WHOLE, workers_count: int = 1
) -> Iterator[Series]:
    """Yield what each further chunk of seeds did; the last one yielded may have a failure."""
    chunks = [seeds[place : place + CHUNK_SEEDS] for place in range(0, len(seeds), CHUNK_SEEDS)]
    if workers_count == 1:
        for chunk in chunks:
            series = play_chunk(chunk, without, narrowing)
            yield series
            if series.failure is not None:
                return
        return
    with ProcessPoolExecutor(workers_count, mp_context=get_context("spawn")) as pool:
        for series in pool.map(play_chunk, chunks, [without] * len(chunks), [narrowing] * len(chunks)):
            yield series
            if series.failure is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                return


def play_chunk(seeds: range, without: frozenset[str], narrowing: Narrowing) -> Series:
    """Play some seeds in this process, up to the first that fails."""
    return _without_collector(lambda: _play_chunk(seeds, without, narrowing))


def _play_chunk(seeds: range, without: frozenset[str], narrowing: Narrowing) -> Series:
    started, total = time.process_time(), NOTHING
    for seed in seeds:
        world = World(seed, without, narrowing=narrowing)
        try:
            figures = world.run()
        except Exception as error:
            total = total._replace(failure=Failure(seed, type(error).__name__, str(error)))
            break
        total = total.plus(
            Series(
                1, figures.calls_count, figures.events_count, figures.undecided_count, 0.0, Counter(figures.faults),
                Counter(figures.branches), None,
            )
        )  # fmt: skip
    return total._replace(cpu_s=time.process_time() - started)


def _without_collector(play_them: Callable[[], Series]) -> Series:
    """A world makes no garbage worth looking for while it runs; it is collected between chunks."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return play_them()
    finally:
        if was_on:
            gc.enable()
        gc.collect()
