"""Performs the steps of exchanges on a cluster in memory: one driver for threads, one for asyncio.

What `client.channels` and `client.async_channels` do with sockets and real clocks. A call whose answer waits for
another caller's loader waits for that loader; every other wait moves the virtual clock.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count
from typing import Any, NoReturn, TypeVar

from daycache_ray.client.driving import adrive, arun_each, drive, run_each
from daycache_ray.client.exchanges import Call, Exchange, Finish, Spawn, Step, Tell, Unfinished
from daycache_ray.client.exchanges import Load as LoadStep
from daycache_ray.client.loader_threads import hung
from daycache_ray.client.router import Pause
from daycache_ray.testing.memory_cluster import Load, MemoryCluster, Pending, loads_within
from daycache_ray.wire.failures import error_of
from daycache_ray.words.errors import CacheError, UnknownOutcomeError, UsageError
from daycache_ray.words.operations import Failure

T = TypeVar("T")

_connections = count(1)


class _Conversation:
    """One exchange under way: the error that was ordered for it, and the load that others may wait for."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self._connection = next(_connections)
        self._load: Load | None = None
        self._error: CacheError | None = None
        self._has_called = False

    def send(self, step: Call) -> Pending:
        """Send a request; raises what a replica refuses, and the error that a test ordered."""
        if not self._has_called:
            self._has_called, self._error = True, self.cluster.next_error()
        if self._error is not None:
            raise self._error
        return self.cluster.send(step.member, step.build, self._connection)

    def tell(self, step: Tell) -> None:
        """Send a request and do not wait."""
        try:
            self.cluster.send(step.member, step.build, self._connection)
        except CacheError:
            pass

    def pause(self, step: Pause) -> None:
        """Let the time of a pause go by."""
        self.cluster.pass_until(self.cluster.now().boot_ns + round(step.seconds * 1e9))

    def give_up(self, step: Call, pending: Pending) -> NoReturn:
        """The attempt's time is over."""
        self.abandon(step, pending)
        raise UnknownOutcomeError(f"no answer from {step.member.actor_name} within {step.attempt_s:.3f} s")

    def abandon(self, step: Call, pending: Pending) -> None:
        """Nobody waits for this answer any more."""
        if step.undo is not None:
            self.cluster.abandon(pending, step.undo)

    @contextlib.contextmanager
    def loading(self, step: LoadStep) -> Iterator[None]:
        """Run a loader here; raises LoadError where it took longer than it may, on the virtual clock."""
        cluster = self.cluster
        if self._load is None:
            # Until the exchange ends: what follows the loader is what the others wait for.
            self._load = cluster.begin_load()
        token = loads_within.set((*loads_within.get(), self._load))
        started_s = cluster.now_s()
        try:
            yield
        finally:
            loads_within.reset(token)
        if cluster.now_s() - started_s > step.deadline_s:
            raise hung(step.loader, len(step.keys), step.deadline_s)

    def outcome(self, step: LoadStep, started_s: float, values: dict[str, Any]) -> Any:
        """Return a load's outcome: its loader has ended, but on the virtual clock perhaps too late to wait for."""
        is_late = step.soft_s is not None and self.cluster.now_s() - started_s > step.soft_s
        return Unfinished(step, values) if is_late else values

    def end(self) -> None:
        """The exchange is over."""
        if self._load is not None:
            self.cluster.end_load(self._load)


class MemoryChannels:
    """The driver for threads."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster

    def run(self, exchange: Exchange[T]) -> T:
        """Perform an exchange to its end; raises what it raises."""
        conversation = _Conversation(self._cluster)
        try:
            return drive(exchange, partial(self._perform, conversation))
        finally:
            conversation.end()

    def run_all(self, exchanges: Iterable[Exchange[dict[Any, Any]]]) -> dict[Any, Any]:
        """Perform exchanges that each give a part of a dict; the first error is raised when all were tried."""
        return run_each(self.run, exchanges)

    def actor_handle(self, name: str) -> Any:
        """There is no actor."""
        no_actor(name)

    def close(self) -> None:
        """Nothing is open."""

    def _perform(self, conversation: _Conversation, step: Step) -> Any:
        cluster = self._cluster
        if isinstance(step, Call):
            return self._call(conversation, step)
        if isinstance(step, LoadStep):
            started_s = cluster.now_s()
            with conversation.loading(step):
                values = step.loader.load_many(step.keys)
            return conversation.outcome(step, started_s, values)
        if isinstance(step, Finish):
            return step.unfinished.work
        if isinstance(step, Spawn):
            # Nobody waits for it, so it may as well be done at once.
            with contextlib.suppress(CacheError):
                self.run(step.exchange)
            return None
        with cluster.lock:
            if isinstance(step, Tell):
                conversation.tell(step)
            else:
                conversation.pause(step)
        return None

    def _call(self, conversation: _Conversation, step: Call) -> Any:
        cluster = self._cluster
        with cluster.lock:
            deadline_ns = cluster.now().boot_ns + round(step.attempt_s * 1e9)
            pending = conversation.send(step)
            if pending.value is None:
                with cluster.waiting():
                    while pending.value is None:
                        if cluster.now().boot_ns >= deadline_ns:
                            conversation.give_up(step, pending)
                        if not cluster.is_anybody_loading() or not cluster.wait():
                            pass_some_time(cluster, deadline_ns)
            return answer_of(pending)


class AsyncMemoryChannels:
    """The driver for asyncio; of any event loop."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster

    async def run(self, exchange: Exchange[T]) -> T:
        """Perform an exchange to its end; raises what it raises, cancellation included."""
        conversation = _Conversation(self._cluster)
        try:
            return await adrive(exchange, partial(self._perform, conversation))
        finally:
            conversation.end()

    async def run_all(self, exchanges: Iterable[Exchange[dict[Any, Any]]]) -> dict[Any, Any]:
        """Perform exchanges at the same time that each give a part of a dict; one of their errors is raised."""
        return await arun_each(self.run, exchanges)

    async def actor_handle(self, name: str) -> Any:
        """There is no actor."""
        no_actor(name)

    async def close(self) -> None:
        """Nothing is open."""

    async def _perform(self, conversation: _Conversation, step: Step) -> Any:
        cluster = self._cluster
        if isinstance(step, Call):
            return await self._call(conversation, step)
        if isinstance(step, LoadStep):
            started_s = cluster.now_s()
            with conversation.loading(step):
                values = await step.loader.aload_many(step.keys)
            return conversation.outcome(step, started_s, values)
        if isinstance(step, Finish):
            return step.unfinished.work
        if isinstance(step, Spawn):
            with contextlib.suppress(CacheError):
                await self.run(step.exchange)
            return None
        with cluster.lock:
            if isinstance(step, Tell):
                conversation.tell(step)
            else:
                conversation.pause(step)
        return None

    async def _call(self, conversation: _Conversation, step: Call) -> Any:
        cluster = self._cluster
        with cluster.lock:
            deadline_ns = cluster.now().boot_ns + round(step.attempt_s * 1e9)
            pending = conversation.send(step)
        if pending.value is None:
            try:
                with cluster.listening() as event, cluster.waiting():
                    while pending.value is None:
                        if cluster.now().boot_ns >= deadline_ns:
                            conversation.give_up(step, pending)
                        # The others of this loop may be about to load: let them, before time is moved.
                        await asyncio.sleep(0)
                        if pending.value is None and not (
                            cluster.is_anybody_loading() and await cluster.await_change(event)
                        ):
                            pass_some_time(cluster, deadline_ns)
            except asyncio.CancelledError:
                conversation.abandon(step, pending)
                raise
        return answer_of(pending)


def pass_some_time(cluster: MemoryCluster, deadline_ns: int) -> None:
    """Nobody else can answer: let time pass until something is due, at most until the deadline."""
    with cluster.lock:
        cluster.pass_until(min(deadline_ns, cluster.next_due_ns() or deadline_ns))


def answer_of(pending: Pending) -> Any:
    """Return an answer; raises the error that it is."""
    if isinstance(pending.value, Failure):
        raise error_of(pending.value)
    return pending.value


def no_actor(name: str) -> NoReturn:
    """Raise what a cache in memory says when it is asked for an actor."""
    raise UsageError(f"a memory cache has no Ray actors, so there is no handle of {name}: test that on a real cluster")
