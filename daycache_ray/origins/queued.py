"""A loader that many callers of one process share: a limit with a queue, questions put together, cycles found.

A batch is open while its first caller waits, for the window or for a slot; whoever comes meanwhile shares its
question and its answer. It refuses to know what is loaded, and when an origin is left alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from daycache_ray.origins.loading import KeyLoader
from daycache_ray.structures.load_slots import Entrance, LoadSlots
from daycache_ray.words.errors import BackpressureError, LoadError
from daycache_ray.words.ports import MISSING

KEYS_PER_BATCH: Final = 1_000
"""A batch with this many keys takes no more."""

BUSY_RETRY_S: Final = 0.1

_inside: ContextVar[tuple[tuple[Any, str], ...]] = ContextVar("daycache_loads_inside", default=())
"""What the loaders that this code runs in are loading, outermost first: (label, key)."""


class _Batch:
    """One question that is not asked yet; its answer is for all who put keys in."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        self.answer: Future[dict[str, Any]] = Future()


class QueuedLoader(KeyLoader):
    """A KeyLoader behind a queue of its own; threads and event loops may share it."""

    __slots__ = ("_background", "_batch", "_label", "_loader", "_lock", "_queue_s", "_slots", "_window_s")

    def __init__(
        self, loader: KeyLoader, *, label: Any, slots: LoadSlots | None, window_s: float, queue_s: float
    ) -> None:
        """Stand before `loader`.

        Args:
            label: what a key means here, so that a loader that asks for its own key is found.
            slots: how many questions may be open, and wait; None: any number.
            window_s: how long a question of a batch loader waits for others to join.
            queue_s: how long a question waits for a slot; its caller has given up by then.
        """
        self._loader = loader
        self._label = label
        self._slots = slots
        self._window_s = window_s
        self._queue_s = queue_s
        self._batch: _Batch | None = None
        self._lock = threading.Lock()
        self._background: set[asyncio.Task[None]] = set()

    @property
    def is_batched(self) -> bool:
        """Whether many keys cost one question to the origin."""
        return self._loader.is_batched

    def chain_to(self, key: str) -> str:
        """Return the loads, from this key's own, that this code runs in: 'a → b', or '' when it is not being loaded."""
        inside = _inside.get()
        if (self._label, key) not in inside:
            return ""
        return " → ".join(f"{inner!r}" for _, inner in inside[inside.index((self._label, key)) :])

    def load(self, key: str) -> Any:
        """Return the key's value, or MISSING; raises as load_many."""
        return self.load_many((key,)).get(key, MISSING)

    async def aload(self, key: str) -> Any:
        """See load."""
        return (await self.aload_many((key,))).get(key, MISSING)

    def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return what the origin has of `keys`; raises LoadError, or BackpressureError where the queue is full."""
        if not self._is_shared():
            return self._in_slot(keys, None)
        batch, is_first = self._join(keys)
        if is_first:
            if self._window_s:
                threading.Event().wait(self._window_s)
            try:
                batch.answer.set_result(self._in_slot((), batch))
            except BaseException as error:
                self._close(batch)
                batch.answer.set_exception(error)
        return _part(batch.answer.result(), keys)

    async def aload_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """See load_many."""
        if not self._is_shared():
            return await self._ain_slot(keys, None)
        batch, is_first = self._join(keys)
        if is_first:
            # A task of its own: the first caller may be cancelled, the others wait on.
            task = asyncio.ensure_future(self._lead(batch))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        # Shielded: who is cancelled must not cancel the answer of the others.
        return _part(await asyncio.shield(asyncio.wrap_future(batch.answer)), keys)

    async def _lead(self, batch: _Batch) -> None:
        try:
            if self._window_s:
                await asyncio.sleep(self._window_s)
            batch.answer.set_result(await self._ain_slot((), batch))
        except BaseException as error:
            self._close(batch)
            batch.answer.set_exception(error if isinstance(error, Exception) else LoadError("the load was cancelled"))
            if not isinstance(error, Exception):
                raise

    def _is_shared(self) -> bool:
        return self._loader.is_batched and (self._window_s > 0 or self._slots is not None)

    def _join(self, keys: Sequence[str]) -> tuple[_Batch, bool]:
        with self._lock:
            batch = self._batch
            is_first = batch is None or len(batch.keys) + len(keys) > KEYS_PER_BATCH
            if batch is None or is_first:
                batch = self._batch = _Batch()
            batch.keys.update(dict.fromkeys(keys))
            return batch, is_first

    def _close(self, batch: _Batch) -> tuple[str, ...]:
        with self._lock:
            if self._batch is batch:
                self._batch = None
            return tuple(batch.keys)

    def _in_slot(self, keys: Sequence[str], batch: _Batch | None) -> dict[str, Any]:
        ticket = self._enter()
        if ticket is not None:
            try:
                ticket.result(self._queue_s)
            except FutureTimeoutError:
                self._give_up(ticket)
                raise self._busy() from None
        try:
            asked = keys if batch is None else self._close(batch)
            with self._asking(asked):
                return self._loader.load_many(asked)
        finally:
            self._leave()

    async def _ain_slot(self, keys: Sequence[str], batch: _Batch | None) -> dict[str, Any]:
        ticket = self._enter()
        if ticket is not None:
            try:
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(ticket)), self._queue_s)
            except asyncio.TimeoutError:
                self._give_up(ticket)
                raise self._busy() from None
            except BaseException:
                self._give_up(ticket)
                raise
        try:
            asked = keys if batch is None else self._close(batch)
            with self._asking(asked):
                return await self._loader.aload_many(asked)
        finally:
            self._leave()

    def _enter(self) -> Future[None] | None:
        """Take a slot, or return what is done when one is ours; raises BackpressureError."""
        if self._slots is None:
            return None
        ticket: Future[None] = Future()
        with self._lock:
            entrance = self._slots.enter(ticket)
        if entrance is Entrance.FULL:
            raise self._busy()
        return ticket if entrance is Entrance.WAIT else None

    def _leave(self) -> None:
        if self._slots is not None:
            with self._lock:
                heir = self._slots.leave()
            if heir is not None:
                heir.set_result(None)

    def _give_up(self, ticket: Future[None]) -> None:
        assert self._slots is not None
        with self._lock:
            is_gone = self._slots.give_up(ticket)
        if not is_gone:
            self._leave()

    def _busy(self) -> BackpressureError:
        return BackpressureError(
            f"too many loads wait for {self._loader!r}: raise load_concurrency_max or load_queue_max, or ask less",
            retry_after_s=BUSY_RETRY_S,
        )

    @contextmanager
    def _asking(self, keys: Sequence[str]) -> Iterator[None]:
        before = _inside.get()
        _inside.set((*before, *((self._label, key) for key in keys)))
        try:
            yield
        finally:
            _inside.set(before)

    def __repr__(self) -> str:
        return repr(self._loader)


def _part(answer: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: answer[key] for key in keys if key in answer}
