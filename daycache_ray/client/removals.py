"""Listening to what goes from a region: one listener, its place in every shard, and the thread that asks for it.

Off the data path: the thread asks each shard's primary now and then, a few times a second while nothing goes and
fifty times while something does, and gets batches. A primary that took over is asked by the same retries as any
call, and follows from then on. Refuses to know sockets and stores.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from typing_extensions import Self

from daycache_ray.client.arguments import key_text
from daycache_ray.client.exchanges import Build, Exchange, Tell, ask
from daycache_ray.client.region_core import RegionCore
from daycache_ray.client.session import ShardSession
from daycache_ray.words.errors import CacheClosedError, CacheError, InvalidArgumentError
from daycache_ray.words.operations import Removed, TakeRemovals
from daycache_ray.words.removals import CAUSES, Removal, RemovalCause
from daycache_ray.words.types import Version

PAUSE_S: Final = 0.02
PAUSE_S_MAX: Final = 0.16
BATCH_COUNT: Final = 1_000
ASK_S: Final = 5.0

Listener = Callable[[Removal], None]
AsyncListener = Callable[[Removal], Awaitable[None] | None]

_log = logging.getLogger("daycache.removals")


class _Place:
    """What a subscription knows of one shard's primary."""

    __slots__ = ("given_count", "is_known", "lost_count")

    def __init__(self) -> None:
        self.is_known = False
        self.given_count = 0
        self.lost_count = 0


class RemovalSubscription:
    """A listener that is being served, from `Region.on_removed` until `cancel`, or the end of its `with` block."""

    def __init__(self, core: RegionCore, listener: AsyncListener, causes: Iterable[RemovalCause | str] | None) -> None:
        if not callable(listener):
            raise InvalidArgumentError(f"a listener is called with a Removal, {type(listener).__name__!r} cannot be")
        self.lost_count = 0
        """Removals that the replica dropped because this listener was too slow, or that got lost on the way."""
        self.delivered_count = 0
        """How often the listener was called."""
        self.failures_count = 0
        """How often it raised; that is logged, and the next removal is delivered all the same."""
        self.resubscriptions_count = 0
        """How often another primary had to be followed: what went just then was not delivered, and not counted."""
        self._core = core
        self._listener = listener
        self._causes = _bits(causes)
        self._follower = secrets.randbits(62) + 1
        self._places: dict[int, _Place] = {}
        self._ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        state = "cancelled" if self._ended.is_set() else "listening"
        counts = f"{self.delivered_count} delivered, {self.lost_count} lost, {self.failures_count} failed"
        return f"<RemovalSubscription to '{self._core.config.name}', {state}, {counts}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()

    @property
    def is_active(self) -> bool:
        """Whether it still listens."""
        return not self._ended.is_set()

    def cancel(self) -> None:
        """Call the listener no more, but for a call that is under way. Harmless when done twice."""
        self._ended.set()

    # ------------------------------------------------------------------ asking

    def parts(self) -> list[ShardSession]:
        """Return the shards that are listened to."""
        return self._core.parts()

    def exchanges(self) -> list[Exchange[list[Removal]]]:
        """Return one exchange for each shard, which gives what went there."""
        return [self._exchange(part) for part in self._core.parts()]

    def build(self, part: ShardSession, count_max: int = BATCH_COUNT) -> Build:
        """Return what makes the request to a shard's primary."""
        region, number = part.shard
        given_count = self._place(number).given_count
        service = self._core.reads.service
        return lambda request_id: TakeRemovals(
            request_id, region, number, service, self._follower, self._causes, given_count, count_max
        )

    def take(self, part: ShardSession, answer: Removed) -> list[Removal]:
        """Return what an answer brings, and note what it says of losses."""
        place = self._place(part.shard.number)
        if answer.begun:
            self.resubscriptions_count += place.is_known
            place.lost_count = 0
        place.is_known = True
        place.given_count = answer.given_count
        self.lost_count += answer.lost_count - place.lost_count
        place.lost_count = answer.lost_count
        region = self._core.config.name
        return [
            Removal(key_text(key), Version(epoch, lsn), CAUSES[cause], region)
            for key, epoch, lsn, cause in answer.removals
        ]

    def _place(self, number: int) -> _Place:
        return self._places.setdefault(number, _Place())

    def _exchange(self, part: ShardSession) -> Exchange[list[Removal]]:
        session = self._core.session
        answer: Removed = yield from ask(session, part.shard, self.build(part), session.now_s() + ASK_S)
        return self.take(part, answer)

    # ------------------------------------------------------------------ delivering

    def deliver_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call the listener from an event loop, and await it where it is a coroutine function."""
        self._loop = loop

    def deliver(self, removals: list[Removal]) -> threading.Event | None:
        """Call the listener for each; in an event loop it is done later, when the returned event is set."""
        loop = self._loop
        if loop is None:
            for removal in removals:
                if self._ended.is_set():
                    break
                self._count(self._call(removal) is None)
            return None
        done = threading.Event()

        def start() -> None:
            task = loop.create_task(self._adeliver(removals, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            loop.call_soon_threadsafe(start)
        except RuntimeError:  # the loop is closed, and with it the listener
            self.cancel()
            return None
        return done

    async def _adeliver(self, removals: list[Removal], done: threading.Event) -> None:
        try:
            for removal in removals:
                if self._ended.is_set():
                    break
                answer = self._call(removal)
                if inspect.isawaitable(answer):
                    try:
                        await answer
                    except Exception as error:
                        answer = _told(removal, error)
                    else:
                        answer = None
                self._count(answer is None)
        finally:
            done.set()

    def _call(self, removal: Removal) -> Any:
        try:
            answer = self._listener(removal)
        except Exception as error:
            return _told(removal, error)
        return answer if inspect.isawaitable(answer) and self._loop is not None else None

    def _count(self, is_well: bool) -> None:
        self.delivered_count += 1
        self.failures_count += not is_well

    # ------------------------------------------------------------------ the thread

    def start(self, run: Callable[[Exchange[Any]], Any]) -> None:
        """Ask and deliver from a thread until cancelled; `run` performs an exchange."""
        name = f"daycache-removals-{self._core.config.name}"
        threading.Thread(target=self._run, args=(run,), name=name, daemon=True).start()

    def _run(self, run: Callable[[Exchange[Any]], Any]) -> None:
        pause_s = PAUSE_S
        while not self._ended.wait(pause_s):
            most = 0
            for exchange in self.exchanges():
                try:
                    removals = run(exchange)
                except CacheClosedError:
                    self.cancel()
                    return
                except CacheError as error:
                    _log.info("removals of '%s' cannot be asked for: %s", self._core.config.name, error)
                    continue
                most = max(most, len(removals))
                if removals:
                    self._await(self.deliver(removals))
            pause_s = 0.0 if most >= BATCH_COUNT else PAUSE_S if most else min(PAUSE_S_MAX, 2 * pause_s or PAUSE_S)
        for part in self._core.parts():
            run(self._goodbye(part))

    def _goodbye(self, part: ShardSession) -> Exchange[None]:
        member = self._core.session.router.primary(part.shard)
        if member is not None and not self._core.session.closed_because:
            yield Tell(member, self.build(part, 0))

    def _await(self, done: threading.Event | None) -> None:
        while done is not None and not done.wait(PAUSE_S_MAX) and not self._ended.is_set():
            if self._loop is not None and self._loop.is_closed():
                self.cancel()


def _bits(causes: Iterable[RemovalCause | str] | None) -> int:
    if causes is None:
        return (1 << len(CAUSES)) - 1
    wanted = [causes] if isinstance(causes, str) else list(causes)
    try:
        bits = sum({1 << CAUSES.index(RemovalCause(cause)) for cause in wanted})
    except ValueError as error:
        names = ", ".join(cause.value for cause in CAUSES)
        raise InvalidArgumentError(f"{error}; the causes are {names}") from None
    if not bits:
        raise InvalidArgumentError("causes is empty; leave it out to hear of all")
    return bits


def _told(removal: Removal, error: Exception) -> Exception:
    _log.error("a removal listener raised at %r", removal, exc_info=error)
    return error
