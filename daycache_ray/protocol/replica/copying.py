"""How a primary hands its store to a member that its log cannot help any more."""

from __future__ import annotations

from daycache_ray.protocol.catch_up import CopySender
from daycache_ray.protocol.in_sync import Follower, InSync
from daycache_ray.protocol.replica.state import PINNED_FACTOR_MAX, UNPINNED, ReplicaState
from daycache_ray.words.effects import Effect, Send
from daycache_ray.words.messages import CopyAck


class Copying:
    """The copies that one primary sends, one per follower at most."""

    def __init__(self, state: ReplicaState, in_sync: InSync, term: int) -> None:
        self.state = state
        self.in_sync = in_sync
        self.term = term
        self.count = 0

    def begin(self, follower: Follower, out: list[Effect]) -> None:
        """Offer a copy, and with it all of the log that is kept here.

        A shorter log would do for the store, but the receiver would know fewer answered requests than
        its peers once it is restarted, and apply a repeated one again (R28).
        """
        state = self.state
        self.count += 1
        state.count("copy begun")
        log = state.log
        copy = CopySender(
            self.count, log.base_lsn, log.base_epoch, state.settled_horizon_ns, state.settings.copy_bytes_max
        )
        follower.copy = copy
        state.pinned_lsn = min(state.pinned_lsn, copy.base_lsn)
        out.append(Send(follower.member, copy.offer(state.member, self.term)))

    def acknowledged(self, ack: CopyAck, now_ns: int, out: list[Effect]) -> bool:
        """The receiver stored parts: open the snapshot, send more; True when the log goes on from here."""
        follower = self.in_sync.followers.get(ack.sender)
        if follower is None or ack.epoch != self.term:
            return False
        follower.heard_ns = now_ns
        copy = follower.copy
        if not isinstance(copy, CopySender) or ack.number != copy.number:
            return False
        state = self.state
        copy.acknowledged(ack.part)
        if copy.snapshot is None and not copy.ended:
            copy.begin(state.view.open_snapshot(), state.applied_lsn)
        self._send_more(follower, copy, out)
        if not copy.complete:
            return False
        follower.copy = None
        follower.acknowledged(copy.base_lsn)
        follower.rewind(copy.base_lsn)
        return True

    def _send_more(self, follower: Follower, copy: CopySender, out: list[Effect]) -> None:
        state = self.state
        # What the snapshot shows may still be cut and the receiver could not undo it: it must not use
        # the copy before all of that is settled (R30).
        may_end = state.settled_lsn >= copy.visible_lsn or "R30" in state.without
        answered = state.answers.dump(copy.base_lsn)
        out.extend(Send(follower.member, part) for part in copy.next_parts(state.member, self.term, answered, may_end))

    def repeat(self, follower: Follower, out: list[Effect]) -> None:
        """Send again what was not acknowledged, or begin anew when the log no longer reaches the copy."""
        copy = follower.copy
        assert isinstance(copy, CopySender)
        if self.state.log.base_lsn > copy.base_lsn:
            self.state.pinned_factor = min(2 * self.state.pinned_factor, PINNED_FACTOR_MAX)
            self.end(follower)
            self.begin(follower, out)
        else:
            out.extend(Send(follower.member, part) for part in copy.unacked)
            self._send_more(follower, copy, out)

    def end(self, follower: Follower) -> None:
        """Give up the copy."""
        if isinstance(follower.copy, CopySender):
            follower.copy.close()
        follower.copy = None

    def pin(self, heard_since_ns: int) -> None:
        """Keep the log for those that were heard lately and still need it."""
        pinned = UNPINNED
        for follower in self.in_sync.followers.values():
            if follower.heard_ns >= heard_since_ns:
                copy = follower.copy
                needs = copy.base_lsn if isinstance(copy, CopySender) else follower.match_lsn
                pinned = min(pinned, needs)
        self.state.pinned_lsn = pinned
