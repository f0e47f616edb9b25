"""When a replica turns to the coordinator: to propose itself, to resign, or to ask how things stand."""

from __future__ import annotations

from daycache_ray.protocol.lease import Patience
from daycache_ray.protocol.replica.state import ReplicaState
from daycache_ray.words.effects import Effect, Tell
from daycache_ray.words.messages import AskConfiguration, Configuration, Intent, Propose
from daycache_ray.words.types import Instant, Member, Role, ShardId


class Candidacy:
    """What a replica that is not primary has said to the coordinator, and when it speaks again."""

    def __init__(self, shard: ShardId, state: ReplicaState, patience: Patience, now: Instant) -> None:
        self.shard = shard
        self.state = state
        self.settings = state.settings
        self.patience = patience
        self.configuration: Configuration | None = None
        self.proposal: Propose | None = None
        self.asked_ns = now.boot_ns

    def next_tick_ns(self) -> int:
        """Return when `tick` has something to do."""
        asks = self._asks_ns()
        return min(asks, self.patience.ends_ns()) if self._may_propose() else asks

    def tick(self, now: Instant, out: list[Effect]) -> None:
        """Propose when the grace ran out, repeat a proposal, or ask because nobody speaks."""
        if self._may_propose() and now.boot_ns >= self.patience.ends_ns():
            self._propose(now, out)
        elif now.boot_ns >= self._asks_ns():
            self.asked_ns = now.boot_ns
            out.append(Tell(self.proposal or AskConfiguration(self.shard, self.state.member)))

    def ask(self, now: Instant, out: list[Effect]) -> None:
        """Ask for the present configuration."""
        self.asked_ns = now.boot_ns
        out.append(Tell(AskConfiguration(self.shard, self.state.member)))

    def ask_soon(self, now: Instant, out: list[Effect]) -> None:
        """Ask, unless that was done a moment ago."""
        if now.boot_ns >= self.asked_ns + 2 * self.settings.beacon_ns:
            self.ask(now, out)

    def fenced(self, member: Member, now: Instant, out: list[Effect]) -> None:
        """`member` has provably ended: if it was primary, there is no lease to wait for (R33)."""
        if self._may_propose() and self.configuration is not None and self.configuration.primary == member:
            self.state.count("R33 fenced")
            self._propose(now, out)

    def resign(self, now: Instant, out: list[Effect]) -> None:
        """Ask to be left out; it is repeated until the process ends."""
        if self.configuration is not None:
            self._tell(Intent.RESIGN, self.configuration.epoch, now, out)

    def _may_propose(self) -> bool:
        c = self.configuration
        settled = c is not None and c.term == self.state.term and self.proposal is None
        return settled and self.state.role == Role.SECONDARY

    def _propose(self, now: Instant, out: list[Effect]) -> None:
        assert self.configuration is not None
        self.state.count("proposed itself")
        epoch = self.configuration.epoch
        self.patience.propose(epoch)
        self._tell(Intent.PROMOTE, epoch, now, out)

    def _tell(self, intent: Intent, epoch: int, now: Instant, out: list[Effect]) -> None:
        self.proposal = Propose(self.shard, self.state.member, epoch, int(intent))
        self.asked_ns = now.boot_ns
        out.append(Tell(self.proposal))

    def _asks_ns(self) -> int:
        if self.proposal is not None:
            return self.asked_ns + 2 * self.settings.beacon_ns
        if self.configuration is None or self.state.role == Role.JOINING:
            # Joining for long may mean that the seat has a newer incarnation and nobody said so.
            return self.asked_ns + self.settings.silence_ns
        return max(self.asked_ns, self.patience.heard_ns) + self.settings.silence_ns
