"""The one loop that turns messages into a machine's decisions, and decisions into I/O.

A turn takes every message that has arrived since the last one (that is the group commit), hands each
to the machine, performs the store effects in one transaction, commits, and only then lets anybody
hear of it: sends, fence page, answers, in the machine's order. Nothing here decides anything about
replication; the machine knows nothing of sockets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from daycache_ray.actors.clocks import read_clocks
from daycache_ray.actors.requests import RequestDesk
from daycache_ray.protocol.replica import ShardReplica
from daycache_ray.storage.store import Store
from daycache_ray.words.effects import (
    Append,
    Apply,
    Commit,
    Effect,
    FinishCopy,
    LoadItems,
    PublishFence,
    ResetStore,
    Send,
    Serve,
    Tell,
    Truncate,
)
from daycache_ray.words.messages import NextExpiry, PrepareAck
from daycache_ray.words.types import Member

STORE_EFFECTS: Final = frozenset({Append, Apply, Truncate, Commit, ResetStore, LoadItems, FinishCopy})

ACKNOWLEDGED_S: Final = 0.001
"""How long acknowledgements that nobody waits for may lie: a turn for each would cost a tenth of a core."""

_log = structlog.get_logger("daycache.replica")


class Runner:
    """Runs one `ShardReplica` on one `Store` in one event loop."""

    def __init__(
        self,
        machine: ShardReplica,
        store: Store,
        *,
        send: Callable[[Member, Any], None],
        tell: Callable[[Any], None],
        desk: RequestDesk,
        on_broken: Callable[[Exception], None],
    ) -> None:
        self.machine = machine
        self.store = store
        self._send = send
        self._tell = tell
        self._desk = desk
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._inbox: list[Any] = []
        self._turn_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ns = 0
        self._late: asyncio.TimerHandle | None = None
        self._stopped = False
        self._last_connection = 0
        self.turns_count = 0
        self.messages_count = 0
        self._schedule_tick(machine.next_tick_ns())

    def post(self, message: Any) -> None:
        """Give the machine a message in the next turn."""
        self._inbox.append(message)
        self.wake()

    def keep(self, message: Any) -> None:
        """Lay a message ready; `wake` or `end_of_read` must follow."""
        self._inbox.append(message)

    def wake(self) -> None:
        """See to it that a turn takes what lies ready."""
        if self._inbox and not self._turn_is_due and not self._stopped:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def end_of_read(self, connection: int) -> None:
        """See to what one read of a connection brought; `connection` 0 is a peer's.

        At once where it is a peer's, or the same caller's as before: nobody else is there to share a
        commit with. Otherwise in a moment, together with what the other connections bring.
        """
        if connection == 0 and self._may_wait():
            if self._late is None:
                self._late = self._loop.call_later(ACKNOWLEDGED_S, self._take_late)
        elif connection == 0 or connection == self._last_connection:
            if self._inbox and not self._turn_is_due and not self._stopped:
                self._turn()
        else:
            self._last_connection = connection
            self.wake()

    def _may_wait(self) -> bool:
        """Whether only acknowledgements lie ready that nobody waits for: the next write's turn takes them along."""
        return self.machine.is_unhurried and all(type(message) is PrepareAck for message in self._inbox)

    def _take_late(self) -> None:
        self._late = None
        self.wake()

    def stop(self) -> None:
        """Take no more turns; what was posted is dropped."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._late is not None:
            self._late.cancel()

    def _turn(self) -> None:
        self._turn_is_due = False
        messages, self._inbox = self._inbox, []
        if self._stopped:
            return
        self.turns_count += 1
        self.messages_count += len(messages)
        now = read_clocks()
        machine = self.machine
        outward: list[Any] = []
        try:
            self.store.begin()
            for message in messages:
                self._perform(machine.handle(message, now), outward)
            tick_at_ns = machine.next_tick_ns()
            if now.boot_ns >= tick_at_ns:
                self._perform(machine.tick(now), outward)
                tick_at_ns = machine.next_tick_ns()
            self.store.commit()
            self._desk.turned()
            for effect in outward:
                self._show(effect)
        except Exception as error:
            # The machine has moved on and the store has not, or an invariant broke: this life of the
            # replica is over. A new incarnation starts from what the store holds.
            self.stop()
            _log.error("replica turn failed", exc_info=error)
            self._on_broken(error)
            return
        if machine.superseded:
            self.stop()
            self._on_broken(RuntimeError(f"{machine.member} is nobody any more: its seat has a newer incarnation"))
            return
        self._schedule_tick(tick_at_ns)

    def _perform(self, effects: tuple[Effect, ...], outward: list[Any]) -> None:
        store = self.store
        for effect in effects:
            kind = type(effect)
            if kind in STORE_EFFECTS:
                store.perform(effect)  # type: ignore[arg-type]
                if kind is FinishCopy:
                    self.post(NextExpiry(store.next_expiry_ns(self.machine.horizon_ns)))
            elif kind is Serve:
                # Read here, before the effects of a later message of this turn: it must not see them.
                prepared = self._desk.prepare(effect, self.machine.horizon_ns)  # type: ignore[arg-type]
                if prepared is not None:
                    outward.append(prepared)
            else:
                outward.append(effect)

    def _show(self, effect: Any) -> None:
        kind = type(effect)
        if kind is tuple:
            effect[0].answer(effect[1])
        elif kind is PublishFence:
            self.store.fence.publish(effect)
        elif kind is Send:
            self._send(effect.to, effect.message)
        elif kind is Tell:
            self._tell(effect.message)
        else:
            self._desk.reply(effect)

    def _schedule_tick(self, at_ns: int) -> None:
        if self._timer is not None:
            if self._timer_at_ns <= at_ns:
                return  # it fires earlier than needed and is set anew then
            self._timer.cancel()
        # Whole milliseconds, rounded up: the loop knows no others, and a timer that fires early fires again and again.
        delay_s = max(0, -(-(at_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000_000)) / 1e3
        self._timer_at_ns = at_ns
        self._timer = self._loop.call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._turn_is_due or self._stopped:
            return
        at_ns = self.machine.next_tick_ns()
        if time.clock_gettime_ns(time.CLOCK_BOOTTIME) < at_ns:
            self._schedule_tick(at_ns)
        else:
            self._turn()
