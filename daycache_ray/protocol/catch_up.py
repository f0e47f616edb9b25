"""A copy of the store for a member whose log cannot be continued: parts, acknowledged, at most two at a time.

The log goes on after `base_lsn`, all of it settled when the copy was offered; records that the copy
shows already are skipped by the store, where per key the highest LSN wins. The snapshot
is opened only when the receiver has answered the offer: a later turn, so that it contains at least what
was applied up to the base. It may contain more, records that are not settled (R30): `visible_lsn` says up to
where, and the last part is sent only when that is settled too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from daycache_ray.words.messages import CopyPart
from daycache_ray.words.ports import Snapshot
from daycache_ray.words.types import Member

PARTS_IN_FLIGHT: Final = 2
Answered: TypeAlias = tuple[int, int, int, int, int, int, int | float]
"""See CopyPart.answered."""


class CopySender:
    """The primary's side of one copy."""

    __slots__ = (
        "base_epoch", "base_lsn", "bytes_max", "ended", "exhausted", "horizon_ns", "number", "part", "snapshot",
        "unacked", "visible_lsn",
    )  # fmt: skip

    def __init__(self, number: int, base_lsn: int, base_epoch: int, horizon_ns: int, bytes_max: int) -> None:
        self.number = number
        self.base_lsn = base_lsn
        self.base_epoch = base_epoch
        self.horizon_ns = horizon_ns
        self.bytes_max = bytes_max
        self.part = 0
        self.visible_lsn = 0
        self.exhausted = False
        self.ended = False
        self.snapshot: Snapshot | None = None
        self.unacked: list[CopyPart] = []

    def offer(self, sender: Member, epoch: int) -> CopyPart:
        """Return part 0, which announces the base."""
        part = CopyPart(sender, epoch, self.number, 0, self.base_lsn, self.base_epoch, ())
        self.unacked.append(part)
        return part

    def begin(self, snapshot: Snapshot, visible_lsn: int) -> None:
        """The receiver is ready; `visible_lsn` is the highest LSN that the snapshot may show."""
        assert self.snapshot is None
        self.snapshot = snapshot
        self.visible_lsn = visible_lsn

    def acknowledged(self, part: int) -> None:
        """The receiver has stored every part up to `part`."""
        self.unacked = [one for one in self.unacked if one.part > part]

    def next_parts(self, sender: Member, epoch: int, answered: Iterable[Answered], may_end: bool) -> list[CopyPart]:
        """Return further parts as far as the window is open; `answered` goes with the last, if it may go."""
        parts: list[CopyPart] = []
        while self.snapshot is not None and len(self.unacked) < PARTS_IN_FLIGHT:
            items = () if self.exhausted else self.snapshot.next_items(self.bytes_max)
            self.exhausted = not items
            if self.exhausted and not may_end:
                return parts
            self.ended = self.exhausted
            self.part += 1
            base = (sender, epoch, self.number, self.part, self.base_lsn, self.base_epoch, items)
            if self.ended:
                part = CopyPart(*base, True, self.visible_lsn, self.horizon_ns, tuple(answered))
                self.close()
            else:
                part = CopyPart(*base)
            self.unacked.append(part)
            parts.append(part)
        return parts

    def close(self) -> None:
        """Give the snapshot back."""
        if self.snapshot is not None:
            self.snapshot.close()
            self.snapshot = None

    @property
    def complete(self) -> bool:
        """Whether the receiver has everything."""
        return self.ended and not self.unacked


class CopyReceiver:
    """The joiner's side: parts in order; those of another copy, or already stored, are not taken."""

    __slots__ = ("early", "next_part", "number", "sender", "term")

    def __init__(self) -> None:
        self.sender: Member | None = None
        self.term = 0
        self.number = 0
        self.next_part = 0
        self.early: dict[int, CopyPart] = {}

    def takes(self, part: CopyPart) -> list[CopyPart]:
        """Return the parts that can be stored now, in order; part 0 begins a newer copy.

        A part that overtook another waits for it; the sender never has more than a few on the way.
        """
        newer = (part.epoch, part.number) > (self.term, self.number) or part.sender != self.sender
        if part.part == 0 and newer:
            self.sender, self.term, self.number, self.next_part = part.sender, part.epoch, part.number, 0
            self.early.clear()
        if not self.knows(part) or not self.next_part <= part.part < self.next_part + PARTS_IN_FLIGHT:
            return []
        self.early[part.part] = part
        ready: list[CopyPart] = []
        while self.next_part in self.early:
            ready.append(self.early.pop(self.next_part))
            self.next_part += 1
        return ready

    def knows(self, part: CopyPart) -> bool:
        """Whether the part belongs to the copy in progress."""
        return part.sender == self.sender and part.number == self.number and part.epoch == self.term
