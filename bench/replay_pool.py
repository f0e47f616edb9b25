"""The client processes of a replay together: started once, connected to one cluster after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.callers import CallerPool
from bench.replay import START_DELAY_S, Progress, Replayed, ReplayProcess, share_out
from bench.trading_day import Access

POLL_S = 0.4
DEADLINE_S = 300.0


@dataclass
class ReplayPool:
    """Client processes as Ray actors."""

    actors: list[Any]

    @classmethod
    def start(cls, count: int) -> ReplayPool:
        """Start the processes; they take threads of their own for progress beside the replay."""
        import ray

        remote = ray.remote(num_cpus=0, max_concurrency=3, scheduling_strategy="SPREAD")(ReplayProcess)
        return cls([remote.remote(number) for number in range(count)])

    def callers(self) -> CallerPool:
        """Return the same processes as callers of the bench."""
        return CallerPool(self.actors)

    def replay(
        self, cluster: str, accesses: Sequence[Access], on_progress: Callable[[list[Progress], float], None]
    ) -> Replayed:
        """Replay the day against `cluster`; `on_progress(progress of each, seconds since the bell)` every 0.4 s.

        Raises:
            TimeoutError: it takes longer than 300 seconds.
        """
        import ray

        shares = share_out(accesses, len(self.actors))
        actors = self.actors[: len(shares)]
        ray.get([actor.connect.remote(cluster, share) for actor, share in zip(actors, shares, strict=True)])
        start_at_s = time.time() + START_DELAY_S
        running = [actor.replay.remote(start_at_s) for actor in actors]
        pending = running
        while pending:
            _, pending = ray.wait(pending, num_returns=len(pending), timeout=POLL_S)
            since_s = time.time() - start_at_s
            if since_s > DEADLINE_S:
                raise TimeoutError(f"the replay takes longer than {DEADLINE_S:g} s: use fewer requests")
            on_progress(ray.get([actor.progress.remote() for actor in actors]), max(since_s, 0.0))
        wall_s = time.time() - start_at_s
        answers = ray.get(running)
        ray.get([actor.disconnect.remote() for actor in actors])
        return _together(answers, wall_s)

    def stop(self) -> None:
        """End the processes."""
        self.callers().stop()


def _together(answers: list[Any], wall_s: float) -> Replayed:
    waits = [waits for waits, _ in answers]
    counts = [counts for _, counts in answers]
    return Replayed(
        *(np.concatenate([getattr(w, name) for w in waits]) for name in ("at_s", "took_us", "behind_s")),
        wall_s=wall_s,
        errors=[error for c in counts for error in c["errors"]],
        **{
            name: sum(c[name] for c in counts)
            for name in ("writes_count", "stale_count", "verified_count", "hits_count", "misses_count")
        },
    )
