"""A shard on a stage: no chance at all, the script says which letter arrives, which is lost, and when.

Random seeds miss races that a script shows in a few lines: each rule of the protocol has one here.
Letters wait in `mail` until they are delivered; all clocks show the same unless one is set apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from daycache_ray.protocol.coordinator import ShardCoordinator
from daycache_ray.protocol.replica import ReplicaSettings, ShardReplica
from daycache_ray.simulation.store import SimulatedStore
from daycache_ray.words.effects import Answer, AnswerFill, Effect, PublishFence, Refuse, Send, Serve, Tell
from daycache_ray.words.messages import (
    Configure,
    CoordinatorEffect,
    Persist,
    ReadAt,
    Register,
    Registered,
    SendConfigure,
    Submit,
)
from daycache_ray.words.operations import Level, Operation, OperationKind
from daycache_ray.words.types import Instant, Member, Role, ShardId

MS = 1_000_000
COORDINATOR = -1
WALL_NS = 1_700_000_000_000_000_000
SHARD = ShardId("stage", 0)


class Letter(NamedTuple):
    """A message on its way."""

    source: int
    target: int
    message: Any


def to_seat(seat: int) -> Callable[[Letter], bool]:
    """Choose the letters to a seat, or to COORDINATOR."""
    return lambda letter: letter.target == seat


def of_kind(kind: type, target: int) -> Callable[[Letter], bool]:
    """Choose the letters of a kind to a seat."""
    return lambda letter: letter.target == target and isinstance(letter.message, kind)


class Player:
    """One seat: its machine, its store, its fence page and what it answered."""

    def __init__(self, seat: int, store: SimulatedStore) -> None:
        self.seat = seat
        self.store = store
        self.machine: ShardReplica | None = None
        self.fence: PublishFence | None = None
        self.wall_offset_ns = 0
        self.effects: tuple[Effect, ...] = ()
        """What the last turn returned."""

    @property
    def alive(self) -> ShardReplica:
        """The machine of a player that lives."""
        assert self.machine is not None, f"seat {self.seat} is dead"
        return self.machine


class Stage:
    """`members_count` seats and a coordinator; `form` lets them become one shard in full."""

    def __init__(
        self, members_count: int = 2, strong_copies: int = 2, without: frozenset[str] = frozenset(), **settings: Any
    ) -> None:
        self.without = without
        # Scripts say when time passes, so nothing waits for company unless a script asks for that.
        self.settings = ReplicaSettings(strong_copies=strong_copies, without=without, **{"ship_ns": 0, **settings})
        self.now_ns = 1_000_000 * MS
        self.coordinator = ShardCoordinator(SHARD, members_count, None, without)
        self.coordinator_up = True
        self.saved = self.coordinator.state
        """What the coordinator persisted last; without R35 that comes after its answers, and is lost with it."""
        self.mail: list[Letter] = []
        self.answers: dict[int, Any] = {}
        """By token: results of a write, the entry of a read, a fill's number, or the name of an error."""
        self.token = 0
        self.sequence = 0
        self.reads: dict[int, tuple[int, bytes, int]] = {}
        self.players = [Player(seat, SimulatedStore(100 + seat, without)) for seat in range(members_count)]

    # ------------------------------------------------------------------ the course of things

    def form(self, count: int | None = None) -> Stage:
        """Start the first `count` seats and play until all of them are in sync."""
        count = len(self.players) if count is None else count
        for seat in range(count):
            self.start(seat)
            self.settle()
        self.advance(400)
        self.settle()
        c = self.coordinator.state.configuration
        assert c is not None and len(c.in_sync) == count, c
        self.saved = self.coordinator.state
        return self

    def now(self, seat: int) -> Instant:
        """The time on a seat's clocks."""
        return Instant(self.now_ns, WALL_NS + self.now_ns + self.players[seat].wall_offset_ns)

    def start(self, seat: int, *, listen: bool = True) -> None:
        """Start a process on the seat's store; with `listen` False its first configuration is lost."""
        player = self.players[seat]
        if player.fence is not None:
            player.fence = PublishFence(player.fence.epoch, 0, 0, 0, 0, 0, 0)
        store = player.store
        message = Register(
            seat, seat, f"node-{seat}", store.store_id, store.epoch_at(store.last_lsn) or 0, store.last_lsn
        )
        for effect in self.coordinator.handle(message, Instant(0, 0)):
            if isinstance(effect, Registered):
                player.machine = ShardReplica(
                    SHARD, effect.member, self.settings, store.recovered(), store, self.now(seat)
                )
                if effect.configuration is not None and listen:
                    self.hand(seat, Configure(SHARD, effect.configuration, effect.member))
            elif listen or isinstance(effect, Persist):
                self._coordinator_does(effect)

    def crash(self, seat: int, *, wipe: bool = False) -> Member:
        """Kill a process, and with `wipe` lose its store; returns who it was."""
        player = self.players[seat]
        member = player.alive.member
        player.machine = None
        self.mail = [letter for letter in self.mail if letter.target != seat]
        if wipe:
            player.store = SimulatedStore(player.store.store_id + 100, self.without)
        return member

    def tell_coordinator(self, message: Any) -> None:
        """Give a message of a seat to the coordinator now; its answers are on their way afterwards."""
        for effect in self.coordinator.handle(message, Instant(0, 0)):
            self._coordinator_does(effect)

    def crash_coordinator(self) -> None:
        """Kill the coordinator and start it again with what it persisted."""
        self.coordinator = ShardCoordinator(SHARD, len(self.players), self.saved, self.without)

    def hand(self, seat: int, message: Any) -> tuple[Effect, ...]:
        """Give a message to a machine now; returns the effects, which are performed."""
        return self._perform(seat, self.players[seat].alive.handle(message, self.now(seat)))

    def advance(self, milliseconds: int, *, still: tuple[int, ...] = (), deliver: bool = True) -> None:
        """Let time pass in steps of 10 ms; `still` seats are paused, and with `deliver` False nothing arrives."""
        for _ in range(milliseconds // 10):
            self.now_ns += 10 * MS
            for player in self.players:
                machine = player.machine
                if machine is not None and player.seat not in still and machine.next_tick_ns() <= self.now_ns:
                    self._perform(player.seat, machine.tick(self.now(player.seat)))
            if deliver:
                self.deliver(lambda letter: letter.target not in still and letter.source not in still)

    def deliver(self, which: Callable[[Letter], bool] = lambda letter: True) -> int:
        """Deliver the letters chosen, in order, and what they cause if it is chosen too; returns how many."""
        count = 0
        while True:
            letter = next((one for one in self.mail if which(one)), None)
            if letter is None:
                return count
            self.mail.remove(letter)
            count += 1
            assert count < 10_000, "letters without end"
            if letter.target == COORDINATOR:
                if self.coordinator_up:
                    self.tell_coordinator(letter.message)
            elif self.players[letter.target].machine is not None:
                self.hand(letter.target, letter.message)

    def drop(self, which: Callable[[Letter], bool] = lambda letter: True) -> list[Any]:
        """Lose the letters chosen; returns their messages."""
        lost = [letter for letter in self.mail if which(letter)]
        self.mail = [letter for letter in self.mail if not which(letter)]
        return [letter.message for letter in lost]

    def settle(self) -> None:
        """Deliver everything."""
        self.deliver()

    def letters(self, kind: type, source: int | None = None) -> list[Any]:
        """Return the messages of a kind that are on their way."""
        return [
            letter.message
            for letter in self.mail
            if isinstance(letter.message, kind) and source in (None, letter.source)
        ]

    # ------------------------------------------------------------------ clients

    def write(self, seat: int, operation: Operation, level: Level, client: int = 0, sequence: int = 0) -> int:
        """Submit one operation; returns the token under which `answers` has the result, at once or later."""
        self.token += 1
        if not client:
            self.sequence += 1
            client, sequence = 1, self.sequence
        self.hand(seat, Submit(self.token, (operation,), int(level), client, sequence, 0))
        return self.token

    def put(self, seat: int, key: bytes, value: bytes, level: Level = Level.STRONG, ttl_ns: int = 0) -> int:
        """Submit a SET."""
        return self.write(seat, Operation(OperationKind.SET, key, value, ttl_ns=ttl_ns), level)

    def read(self, seat: int, key: bytes, level: Level = Level.STRONG) -> int:
        """Ask for a key; the answer is the value, None for a miss."""
        self.token += 1
        self.reads[self.token] = (seat, key, int(level))
        self.hand(seat, ReadAt(self.token, (key,), int(level)))
        return self.token

    def value(self, seat: int, key: bytes) -> bytes | None:
        """Return what the seat's store shows, expired or not."""
        entry = self.players[seat].store.entries.get(key)
        return entry.value if entry is not None else None

    def role(self, seat: int) -> Role:
        """What the seat is."""
        return self.players[seat].alive.role

    def leased(self, seat: int) -> bool:
        """Whether a reader on the seat's node trusts its fence page now."""
        fence = self.players[seat].fence
        return fence is not None and fence.role == Role.PRIMARY and fence.lease_until_ns > self.now_ns

    # ------------------------------------------------------------------ effects

    def _perform(self, seat: int, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        player = self.players[seat]
        player.effects = effects
        for effect in effects:
            if player.store.performs(effect):
                player.store.perform(effect)
            elif isinstance(effect, PublishFence):
                player.fence = effect
            elif isinstance(effect, Send):
                self.mail.append(Letter(seat, effect.to.seat, effect.message))
            elif isinstance(effect, Tell):
                self.mail.append(Letter(seat, COORDINATOR, effect.message))
            elif isinstance(effect, Answer):
                self.answers[effect.token] = effect.results
            elif isinstance(effect, AnswerFill):
                self.answers[effect.token] = effect.number
            elif isinstance(effect, Refuse):
                self.answers[effect.token] = effect.error
            elif isinstance(effect, Serve):
                self._serve(player, effect.token)
        return effects

    def _serve(self, player: Player, token: int) -> None:
        _, key, level = self.reads[token]
        entry = player.store.entries.get(key)
        hidden_ns = player.alive.horizon_ns
        if "R24" in self.without or level != Level.STRONG:
            hidden_ns = self.now(player.seat).wall_ns
        visible = entry is not None and not 0 < entry.expires_at_ns <= hidden_ns
        visible = visible and (entry is None or player.store.cover(key, entry) is None)
        self.answers[token] = entry.value if entry is not None and visible else None

    def _coordinator_does(self, effect: CoordinatorEffect) -> None:
        if isinstance(effect, SendConfigure):
            self.mail.append(Letter(COORDINATOR, effect.member.seat, effect.message))
        elif isinstance(effect, Persist) and "R35" not in self.without:
            self.saved = effect.state
