"""Trains the cluster's network on what the prefetcher saw, and hands out its weights by version.

A Ray actor with a process of its own: PyTorch is imported in it and in the Serve replica, nowhere
else. It is alone with its network, so a lesson that takes long holds up nobody but the next lesson.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import ray
import structlog

from daycache_ray.actors.clocks import read_clocks
from daycache_ray.prediction.questions import Questions
from daycache_ray.words.config import ClusterConfig

if TYPE_CHECKING:
    from daycache_ray.prediction.training import OnlineTrainer

PUBLISH_S: Final = 2.0
"""How often new weights get a version; each one is fetched and checked by every replica."""

WAITING_MAX: Final = 16
"""Blocks that wait for their lesson; more are refused, the newest ones: those that wait are as good."""

_log = structlog.get_logger("daycache.trainer")


@dataclass(frozen=True, slots=True)
class TrainerStatistics:
    """Counts since the start. `version` is 0 before the first weights, and rises.

    `surprise` is a running mean in nats, made before each lesson.
    """

    pid: int
    version: int
    lessons_count: int
    refused_count: int
    skipped_count: int
    surprise: float
    learn_us_per_question: float


class Trainer:
    """The actor's class; see the module. Lessons run in one thread, calls on the event loop."""

    def __init__(self, cluster_name: str, config: ClusterConfig) -> None:
        self._cluster_name = cluster_name
        self._config = config
        self._closed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="daycache-train")
        self._network: OnlineTrainer | None = None
        self._version = 0
        self._weights = b""
        self._published_s = 0.0
        self._waiting_count = 0
        self._skipped_count = 0
        self._surprise = 0.0
        self._busy_s = 0.0
        self._learned_count = 0
        # Importing PyTorch takes seconds; the first lesson should not have to wait for it.
        self._thread.submit(self._prepare)

    async def ping(self) -> None:
        """Answer when the process is up."""

    async def wait_closed(self) -> None:
        """Return when the actor ends in order; fails by Ray when it dies."""
        await self._closed.wait()

    async def learn(self, questions: Questions) -> bool:
        """Learn from questions with their truths; False where too many wait already and these were left out."""
        if self._waiting_count >= WAITING_MAX:
            self._skipped_count += 1
            return False
        self._waiting_count += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._learn, questions)
        finally:
            self._waiting_count -= 1
        return True

    async def weights(self, known_version: int) -> tuple[int, bytes] | None:
        """Return (version, weights) where there are newer ones than `known_version`, else None.

        The weights are a NumPy archive; prediction.network.weights_from_bytes checks and takes them.
        """
        if self._version <= known_version:
            return None
        return self._version, self._weights

    async def close(self) -> None:
        """End in order."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._closed.set()

    async def statistics(self) -> TrainerStatistics:
        """Return what was learned so far."""
        network = self._network
        return TrainerStatistics(
            pid=os.getpid(),
            version=self._version,
            lessons_count=network.lessons_count if network is not None else 0,
            refused_count=network.refused_count if network is not None else 0,
            skipped_count=self._skipped_count,
            surprise=self._surprise,
            learn_us_per_question=self._busy_s * 1e6 / max(self._learned_count, 1),
        )

    def _prepare(self) -> OnlineTrainer:
        if self._network is None:
            self._network = _new_network()
        return self._network

    def _learn(self, questions: Questions) -> None:
        network = self._prepare()
        started_s = read_clocks().boot_ns / 1e9
        surprise = network.learn(questions)
        count = len(questions.truth)
        share = min(0.05, count / max(self._learned_count + count, 1)) if self._learned_count else 1.0
        self._surprise += (surprise - self._surprise) * share
        self._learned_count += count
        now_s = read_clocks().boot_ns / 1e9
        self._busy_s += now_s - started_s
        if now_s - self._published_s >= PUBLISH_S:
            self._published_s = now_s
            self._weights = network.save()
            # Starts at the wall clock's seconds: replicas that knew a trainer before this one see a newer version.
            self._version = self._version + 1 if self._version else read_clocks().wall_ns // 1_000_000_000


def _new_network() -> OnlineTrainer:
    import torch

    from daycache_ray.prediction.training import OnlineTrainer

    # A small network gains nothing from more threads, and the machine has caches to run.
    torch.set_num_threads(1)
    return OnlineTrainer()


TrainerActor = ray.remote(  # type: ignore[call-overload]
    num_cpus=0, max_restarts=0, max_task_retries=0, max_concurrency=100
)(Trainer)
"""`TrainerActor.remote(cluster_name, config)`; needs nothing else to run."""
