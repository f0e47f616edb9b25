"""Callers in processes of their own: Ray actors that run the same loop against any peer at the same time.

One actor is one process with one client, as in a service that scales by processes. Under `ray job
submit` Ray spreads them over the nodes.
"""

from __future__ import annotations

import bisect
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.measure import Sample, summarise
from bench.peers import Caller, Peer, open_caller

ZIPF = 0.99
"""Skew of the keys: the constant of YCSB's zipfian generator."""
WRITE_RATIO = 0.1
ARGUMENTS_COUNT = 8_192
START_DELAY_S = 0.3


def zipf_keys(count: int, keys_count: int, rng: random.Random) -> list[str]:
    """Return `count` draws of `keys_count` keys, a few of them asked for most of the time."""
    cumulated = list(itertools.accumulate(1 / (rank + 1) ** ZIPF for rank in range(keys_count)))
    order = rng.sample(range(keys_count), keys_count)
    draws = (bisect.bisect(cumulated, rng.random() * cumulated[-1]) for _ in range(count))
    return [f"key:{order[min(draw, keys_count - 1)]:06d}" for draw in draws]


class CallerProcess:
    """One process that calls whom it is told to."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._callers: dict[Peer, Caller] = {}

    def open(self, peer: Peer) -> bool:
        """Open a client of the peer, so that the first measured call does not pay for it."""
        if peer not in self._callers:
            self._callers[peer] = open_caller(peer)
            self._callers[peer].get("key:000000")
        return True

    def mixed(
        self, peer: Peer, start_at_s: float, duration_s: float, keys_count: int, value: bytes
    ) -> tuple[Any, float]:
        """Return the nanoseconds of each call of a 90/10 mix of get and set, and the seconds it took."""
        caller = self._callers[peer]
        rng = random.Random(self._number)
        keys = zipf_keys(ARGUMENTS_COUNT, keys_count, rng)
        is_write = [rng.random() < WRITE_RATIO for _ in keys]
        get, put, clock = caller.get, caller.set, time.perf_counter_ns
        taken: list[int] = []
        time.sleep(max(0.0, start_at_s - time.time()))
        begun = clock()
        until = begun + int(duration_s * 1e9)
        for key, writes in itertools.cycle(zip(keys, is_write, strict=True)):
            before = clock()
            if writes:
                put(key, value)
            else:
                get(key)
            after = clock()
            taken.append(after - before)
            if after >= until:
                break
        return np.asarray(taken, dtype=np.int64), (clock() - begun) / 1e9

    def close(self) -> bool:
        """Close all clients."""
        for caller in self._callers.values():
            caller.close()
        self._callers.clear()
        return True


@dataclass
class CallerPool:
    """The processes, started once and used for every peer."""

    actors: list[Any]

    @classmethod
    def start(cls, count: int) -> CallerPool:
        """Start `count` processes; they spread over the nodes of the Ray cluster."""
        import ray

        remote = ray.remote(num_cpus=0, scheduling_strategy="SPREAD")(CallerProcess)
        return cls([remote.remote(number) for number in range(count)])

    def open(self, peers: Sequence[Peer]) -> None:
        """Open a client of each peer in each process."""
        import ray

        for peer in peers:
            ray.get([actor.open.remote(peer) for actor in self.actors])

    def mixed(self, peer: Peer, workers_count: int, duration_s: float, keys_count: int, value: bytes) -> Sample:
        """Return one sample of `workers_count` processes calling the peer together."""
        import ray

        start_at_s = time.time() + START_DELAY_S
        asked = [
            actor.mixed.remote(peer, start_at_s, duration_s, keys_count, value) for actor in self.actors[:workers_count]
        ]
        answers = ray.get(asked)
        taken = np.concatenate([times for times, _ in answers])
        per_s = sum(len(times) / wall_s for times, wall_s in answers)
        return summarise(taken.tolist(), len(taken) / per_s)

    def close(self) -> None:
        """Close the clients; the processes stay."""
        import ray

        ray.wait([actor.close.remote() for actor in self.actors], num_returns=len(self.actors), timeout=10)

    def stop(self) -> None:
        """Close the clients and end the processes."""
        import ray

        self.close()
        for actor in self.actors:
            ray.kill(actor)
