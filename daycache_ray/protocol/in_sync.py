"""Who must hold a record before it counts, and how far each of them is.

The in-sync set is the coordinator's; the pending growth is what this primary has asked for and may
already have been granted without knowing it (R1, R2): until a later configuration says otherwise, both
must hold every record and grant every lease.
"""

from __future__ import annotations

from collections.abc import Iterable

from daycache_ray.words.types import Member

NEVER_NS = -(1 << 62)


class Follower:
    """What the primary knows of one other replica.

    `match_lsn`: its log holds the primary's up to here. `next_lsn`: the next record to send.
    `granted_ns`: the latest own send time that it acknowledged. `heard_ns`: when it was last heard.
    `resume_lsn`: where to go on when a batch was lost; beyond `match_lsn` while that is not known yet.
    `told_lsn`: the commit it was told. `in_flight`: ends of the batches that wait for an
    acknowledgement. `echo_ns`: what its own clock showed when it was last heard. `copy`: the copy of the
    store that it receives, if it does.
    """

    __slots__ = (
        "copy", "echo_ns", "granted_ns", "heard_ns", "in_flight", "match_lsn", "member", "next_lsn", "resume_lsn",
        "sent_ns", "told_lsn",
    )  # fmt: skip

    def __init__(self, member: Member, next_lsn: int, now_ns: int) -> None:
        self.member = member
        self.match_lsn = 0
        self.next_lsn = next_lsn
        self.resume_lsn = next_lsn - 1
        self.granted_ns = NEVER_NS
        self.heard_ns = now_ns
        self.sent_ns = NEVER_NS
        self.told_lsn = 0
        self.echo_ns = 0
        self.in_flight: list[int] = []
        self.copy: object | None = None

    def acknowledged(self, lsn: int) -> None:
        """It holds everything up to `lsn`."""
        if lsn > self.match_lsn:
            self.match_lsn = self.resume_lsn = lsn
        if lsn >= self.next_lsn:
            self.next_lsn = lsn + 1
        in_flight = self.in_flight
        while in_flight and in_flight[0] <= lsn:
            del in_flight[0]

    def rewind(self, lsn: int) -> None:
        """Send again what follows `lsn`."""
        self.resume_lsn = lsn
        self.next_lsn = lsn + 1
        self.in_flight.clear()


class InSync:
    """The followers of a primary, those in sync and those that are on the way."""

    __slots__ = ("agreed", "followers", "me", "pending", "required")

    def __init__(self, me: Member) -> None:
        self.me = me
        self.followers: dict[Member, Follower] = {}
        self.agreed: tuple[Member, ...] = (me,)
        self.pending: tuple[Member, ...] = ()
        self.required: tuple[Follower, ...] = ()

    def configure(self, in_sync: tuple[Member, ...], members: Iterable[Member], next_lsn: int, now_ns: int) -> None:
        """Take over a configuration: keep what is known of followers that stay."""
        wanted = {*members, *in_sync} - {self.me}
        known = self.followers
        self.followers = {member: known.get(member) or Follower(member, next_lsn, now_ns) for member in sorted(wanted)}
        for member in in_sync:
            if member not in self.agreed and member in self.followers:
                # Its silence counts from now: it could not be asked to answer before.
                self.followers[member].heard_ns = max(self.followers[member].heard_ns, now_ns)
        self.agreed = in_sync
        self._require()

    def grow(self, pending: tuple[Member, ...]) -> None:
        """Wait for these too from now on; () ends that."""
        self.pending = pending
        self._require()

    def held_lsn(self, last_lsn: int) -> int:
        """Return the highest LSN that every required member holds, this one with `last_lsn` included."""
        held = last_lsn
        for follower in self.required:
            if follower.match_lsn < held:
                held = follower.match_lsn
        return held

    def granted_ns(self, now_ns: int) -> int:
        """Return the send time up to which every required member grants the lease; alone: now."""
        granted = now_ns
        for follower in self.required:
            if follower.granted_ns < granted:
                granted = follower.granted_ns
        return granted

    def silent(self, now_ns: int, silence_ns: int) -> tuple[Member, ...]:
        """Return the required members that were not heard for longer than `silence_ns`."""
        return tuple(f.member for f in self.required if now_ns - f.heard_ns > silence_ns)

    def _require(self) -> None:
        needed = {*self.agreed, *self.pending}
        self.required = tuple(f for member, f in self.followers.items() if member in needed)
