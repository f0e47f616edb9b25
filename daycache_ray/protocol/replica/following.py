"""What a replica does that is not primary: take the log, become a copy, lose patience."""

from __future__ import annotations

from collections import deque
from typing import Final

from daycache_ray.protocol.catch_up import CopyReceiver
from daycache_ray.protocol.lease import Patience
from daycache_ray.protocol.log import Verdict
from daycache_ray.protocol.replica.state import ReplicaState
from daycache_ray.words.effects import Effect, FinishCopy, LoadItems, ResetStore, Send
from daycache_ray.words.messages import CopyAck, CopyPart, Prepare, PrepareAck
from daycache_ray.words.types import Instant

PROMISED_MAX: Final = 256
"""Beyond it a replica that lags learns less often how fresh it is, and no more than that."""


class Following:
    """The secondary's and the joiner's side of replication; the composing machine knows the role."""

    def __init__(self, state: ReplicaState, patience: Patience) -> None:
        self.state = state
        self.patience = patience
        self.receiver = CopyReceiver()
        self.needs_copy = False
        self.promised: deque[tuple[int, int]] = deque()
        """(last LSN of the primary, own clock): visible up to the first, complete up to the second."""
        self.promised_term = 0

    def prepared(self, m: Prepare, now: Instant, out: list[Effect]) -> None:
        """Take the records that fit, grant the lease, and say what this log holds."""
        state = self.state
        granted = m.sent_at_ns
        if self.patience.refuses(m.epoch):
            if "R4" not in state.without:
                state.count("R4 nothing granted")
                return
        else:
            self.patience.heard(now.boot_ns)
        verdict = self._judge(m)
        if verdict.needs_copy:
            state.count("needs a copy")
            self.needs_copy = True
        if verdict.cut_lsn >= 0:
            state.cut(verdict.cut_lsn, out)
        if verdict.fresh:
            state.append_received(verdict.fresh, out)
        rose = verdict.matched and state.settle_as_told(m.commit_lsn, verdict.lsn, out)
        if self._freshen(m, now) or rose:
            state.publish(out)
        ack = PrepareAck(
            state.member, state.term, verdict.matched, verdict.lsn, granted, verdict.needs_copy, now.boot_ns
        )
        out.append(Send(m.sender, ack))

    def _freshen(self, m: Prepare, now: Instant) -> bool:
        """Work out up to when everything acknowledged is visible here; True when that is later than before.

        The primary sent this under its lease, so nobody else acknowledged anything, and after it had heard what
        this clock showed at `echo_ns`: what was acknowledged up to then lies at or below its last LSN (R27).
        """
        state, promised = self.state, self.promised
        if m.term != self.promised_term:
            self.promised_term = m.term
            promised.clear()
        if m.echo_ns and len(promised) < PROMISED_MAX:
            promised.append((m.last_lsn, m.echo_ns if "R27" not in state.without else now.boot_ns))
        before_ns = state.fresh_ns
        while promised and promised[0][0] <= state.settled_lsn:
            state.fresh_ns = max(state.fresh_ns, promised.popleft()[1])
        return state.fresh_ns > before_ns

    def _judge(self, m: Prepare) -> Verdict:
        log = self.state.log
        if self.needs_copy:
            return Verdict(False, 0, needs_copy=True)
        verdict = log.judge(m.previous_lsn, m.previous_epoch, m.records, self.state.settled_lsn)
        if "R10" in self.state.without and verdict.matched and verdict.lsn < log.last_lsn:
            cut = max(verdict.lsn, self.state.settled_lsn)
            return verdict._replace(cut_lsn=cut)
        return verdict

    def copied(self, m: CopyPart, out: list[Effect]) -> None:
        """Store what is in order; the last part puts the copy in the place of what was here."""
        state, receiver = self.state, self.receiver
        for part in receiver.takes(m):
            if part.part == 1:
                out.append(ResetStore())
            if part.items:
                out.append(LoadItems(part.items))
            if part.last:
                self._finish(part, out)
        if receiver.knows(m) and receiver.next_part > 0:
            out.append(Send(m.sender, CopyAck(state.member, m.epoch, m.number, receiver.next_part - 1)))

    def _finish(self, m: CopyPart, out: list[Effect]) -> None:
        state = self.state
        state.count("copy finished")
        state.become_copy(m.base_lsn, m.base_epoch, m.horizon_ns, m.visible_lsn)
        state.answers.load(m.answered)
        self.needs_copy = False
        self.promised.clear()
        out.append(FinishCopy(m.base_lsn, m.base_epoch, m.horizon_ns))
        state.publish(out)
