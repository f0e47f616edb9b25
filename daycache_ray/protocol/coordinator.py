"""The configuration manager of one shard, as a machine: compare-and-set on the epoch, nothing else.

It never promotes anybody by itself, with two exceptions that carry their own proof: the primary's seat
comes back on the very store that it had (so the former incarnation has ended), and the shell says that
the whole in-sync set's stores are lost. News of a death promotes nobody: a machine that was in sync
proposes itself when its grace ran out. Every answer follows a Persist of what it says (R35).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from daycache_ray.words.messages import (
    AskConfiguration,
    Configuration,
    Configure,
    CoordinatorEffect,
    CoordinatorInput,
    CoordinatorState,
    Intent,
    MemberDied,
    Persist,
    Propose,
    Register,
    Registered,
    SeatState,
    SendConfigure,
    StoreLost,
)
from daycache_ray.words.types import Instant, Member, ShardId


class ShardCoordinator:
    """Agrees the configurations of one shard.

    `seat_count` is the number of replicas that the region wants: when this coordinator knows nothing and
    stores with data come back, it waits for all of them before it chooses. `state` is what an earlier
    life persisted last, or None. `without` names rules that are switched off, for the simulator only.
    """

    def __init__(
        self,
        shard: ShardId,
        seat_count: int,
        state: CoordinatorState | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        assert seat_count >= 1
        self.shard = shard
        self.seat_count = seat_count
        self.state = state if state is not None else CoordinatorState(shard)
        assert self.state.shard == shard, f"the state of {self.state.shard} is not that of {shard}"
        self.without = without
        self._handlers: dict[type, Callable[[Any, list[CoordinatorEffect]], None]] = {
            Register: self._register,
            Propose: self._propose,
            AskConfiguration: self._ask,
            MemberDied: self._member_died,
            StoreLost: self._store_lost,
        }

    def handle(self, message: CoordinatorInput, now: Instant) -> tuple[CoordinatorEffect, ...]:
        """Return the effects of one message; perform them in order."""
        out: list[CoordinatorEffect] = []
        self._handlers[type(message)](message, out)
        return tuple(out)

    # ------------------------------------------------------------------ seats

    def _seat(self, seat: int) -> SeatState | None:
        return next((one for one in self.state.seats if one.seat == seat), None)

    def _current(self, member: Member) -> bool:
        """Whether this is the present incarnation of its seat."""
        seat = self._seat(member.seat)
        return seat is not None and seat.incarnation == member.incarnation

    def _register(self, m: Register, out: list[CoordinatorEffect]) -> None:
        before = self._seat(m.seat)
        member = Member(m.seat, self.state.next_incarnation)
        seat = SeatState(m.seat, member.incarnation, m.node_id, m.store_id, m.last_epoch, m.last_lsn)
        seats = tuple(sorted((one for one in (*self.state.seats, seat) if one is not before), key=_by_seat))
        self.state = msgspec.structs.replace(self.state, seats=seats, next_incarnation=self.state.next_incarnation + 1)
        c = self.state.configuration
        if c is None:
            self._form(out)
        elif before is not None:
            self._replace(c, before, seat, member)
        if self.state.configuration is not None and self.state.configuration == c:
            self._set_members()
        out.append(Persist(self.state))
        out.append(Registered(m.token, member, self.state.configuration))
        self._announce(out, but=member)

    def _form(self, out: list[CoordinatorEffect]) -> None:
        """Form the first configuration: the newest store that is known, the lowest seat among equals."""
        seats = self.state.seats
        has_data = any(seat.last_lsn for seat in seats)
        if has_data and len(seats) < self.seat_count:
            return
        best = max(seats, key=lambda seat: (seat.last_epoch, seat.last_lsn, -seat.seat))
        self._agree(_member(best), (_member(best),), highest=max(seat.last_epoch for seat in seats))

    def _replace(self, c: Configuration, before: SeatState, seat: SeatState, member: Member) -> None:
        """A seat has a new incarnation: it keeps its place only on the store that is known (R9)."""
        former = Member(before.seat, before.incarnation)
        if former not in c.in_sync:
            return
        if seat.store_id == before.store_id or "R9" in self.without:
            in_sync = tuple(sorted(member if one == former else one for one in c.in_sync))
            # The primary's own store came back: the former incarnation has ended, so this one may go on.
            primary = member if c.primary == former else c.primary
            self._agree(primary, in_sync)
            return
        left = tuple(one for one in c.in_sync if one != former)
        if left:
            self._agree(c.primary, left)
        elif before.node_id == seat.node_id:
            # The only store that counted is gone: on the same node the lock proves that its owner is too.
            self._start_over(former)

    def _member_died(self, m: MemberDied, out: list[CoordinatorEffect]) -> None:
        if not self._current(m.member):
            return
        self._mark_dead(m.member)
        if self.state.configuration is not None and self._set_members():
            out.append(Persist(self.state))
            self._announce(out)

    def _mark_dead(self, member: Member) -> None:
        seats = tuple(
            msgspec.structs.replace(one, alive=False) if _member(one) == member else one for one in self.state.seats
        )
        self.state = msgspec.structs.replace(self.state, seats=seats)

    def _store_lost(self, m: StoreLost, out: list[CoordinatorEffect]) -> None:
        c = self.state.configuration
        if c is None or m.member not in c.in_sync:
            return
        if self._current(m.member):
            self._mark_dead(m.member)
        left = tuple(one for one in c.in_sync if one != m.member)
        if left:
            self._agree(c.primary, left)
        else:
            self._start_over(m.member)
        if self.state.configuration is not c:
            out.append(Persist(self.state))
            self._announce(out)

    def _start_over(self, lost: Member) -> None:
        """Go on without the last in-sync store, with what the others hold. This loses data, and is counted."""
        alive = [seat for seat in self.state.seats if seat.alive and _member(seat) != lost]
        if not alive:
            return
        best = max(alive, key=lambda seat: (seat.last_epoch, seat.last_lsn, -seat.seat))
        self._agree(_member(best), (_member(best),))
        self.state = msgspec.structs.replace(self.state, unclean_count=self.state.unclean_count + 1)

    # ------------------------------------------------------------------ proposals

    def _propose(self, m: Propose, out: list[CoordinatorEffect]) -> None:
        c = self.state.configuration
        if c is None:
            return
        if m.expected_epoch == c.epoch and self._current(m.member):
            self._decide(c, m)
        if self.state.configuration is not c:
            out.append(Persist(self.state))
            self._announce(out)
        if self.state.configuration is c or not self._in_members(m.member):
            self._send(m.member, out)

    def _decide(self, c: Configuration, m: Propose) -> None:
        # Incarnations that are gone are left out instead of refusing for ever (R12).
        subjects = [one for one in m.subjects if self._current(one)]
        if "R12" in self.without and len(subjects) < len(m.subjects):
            return
        if m.intent == Intent.PROMOTE:
            if m.member != c.primary and (m.member in c.in_sync or "R17" in self.without):
                kept = {one for one in c.in_sync if one != c.primary} | {m.member}
                self._agree(m.member, tuple(sorted(kept)))
        elif m.intent == Intent.RESIGN:
            self._resign(c, m.member)
        elif m.member == c.primary:
            if m.intent == Intent.ADD:
                self._agree(c.primary, tuple(sorted({*c.in_sync, *subjects})))
            elif m.intent == Intent.DROP:
                left = tuple(one for one in c.in_sync if one not in m.subjects or one == c.primary)
                self._agree(c.primary, left)
            elif m.intent == Intent.KEEP:
                self._agree(c.primary, c.in_sync)

    def _resign(self, c: Configuration, member: Member) -> None:
        """A member stops in order: its lease is given up already, so its successor need not wait."""
        if member not in c.in_sync:
            return
        left = tuple(one for one in c.in_sync if one != member)
        if not left:
            return
        if member != c.primary:
            self._agree(c.primary, left)
            return
        alive = [one for one in left if any(_member(seat) == one and seat.alive for seat in self.state.seats)]
        self._agree((alive or list(left))[0], left)

    def _ask(self, m: AskConfiguration, out: list[CoordinatorEffect]) -> None:
        c = self.state.configuration
        if c is None:
            return
        self._send(m.member, out)
        if m.member != c.primary:
            # It asks because the primary is silent: maybe the primary has not heard of it.
            self._send(c.primary, out)

    # ------------------------------------------------------------------ configurations

    def _agree(self, primary: Member, in_sync: tuple[Member, ...], highest: int = 0) -> None:
        """The next configuration, in the next epoch."""
        c = self.state.configuration
        epoch = max(highest, c.epoch if c is not None else 0) + 1
        term = c.term if c is not None and c.primary == primary else epoch
        assert primary in in_sync or c is not None, "the first primary is in sync"
        configuration = Configuration(epoch, term, primary, in_sync, self._members(in_sync))
        self.state = msgspec.structs.replace(self.state, configuration=configuration)

    def _members(self, in_sync: tuple[Member, ...]) -> tuple[Member, ...]:
        alive = {_member(seat) for seat in self.state.seats if seat.alive}
        return tuple(sorted(alive | set(in_sync)))

    def _set_members(self) -> bool:
        """Bring `members` up to date within the epoch; True when that changed something."""
        c = self.state.configuration
        assert c is not None
        members = self._members(c.in_sync)
        if members == c.members:
            return False
        newer = msgspec.structs.replace(c, members=members, revision=c.revision + 1)
        self.state = msgspec.structs.replace(self.state, configuration=newer)
        return True

    def _in_members(self, member: Member) -> bool:
        return self.state.configuration is not None and member in self.state.configuration.members

    def _announce(self, out: list[CoordinatorEffect], but: Member | None = None) -> None:
        c = self.state.configuration
        if c is not None:
            for member in c.members:
                if member != but and self._current(member):
                    self._send(member, out)

    def _send(self, member: Member, out: list[CoordinatorEffect]) -> None:
        c = self.state.configuration
        assert c is not None
        out.append(SendConfigure(member, Configure(self.shard, c, member)))


def _member(seat: SeatState) -> Member:
    return Member(seat.seat, seat.incarnation)


def _by_seat(seat: SeatState) -> int:
    return seat.seat
