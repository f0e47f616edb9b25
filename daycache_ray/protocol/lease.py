"""The primary lease, and a secondary's patience: two clocks that must never disagree in the wrong direction.

A primary counts from when it *sent* the beacon that everybody acknowledged, a secondary from when it
*received* it, and the grace is longer than the lease on the slower clock (R3). So no secondary proposes
itself while its primary may still answer alone.
"""

from __future__ import annotations


class PrimaryLease:
    """Until when a primary may answer alone, on its own boot clock. It only ends early by `cap`."""

    __slots__ = ("lease_ns", "until_ns")

    def __init__(self, lease_ns: int) -> None:
        assert lease_ns > 0
        self.lease_ns = lease_ns
        self.until_ns = 0

    def extend(self, granted_ns: int) -> bool:
        """Every required member granted the beacon sent at `granted_ns`; True when that adds time."""
        until = granted_ns + self.lease_ns
        if until <= self.until_ns:
            return False
        self.until_ns = until
        return True

    def cap(self, granted_ns: int) -> None:
        """A further member must agree from now on; it granted only up to `granted_ns` (R2)."""
        self.until_ns = min(self.until_ns, granted_ns + self.lease_ns)

    def end(self) -> None:
        """Give it up."""
        self.until_ns = 0


class Patience:
    """How long a secondary waits for its primary, and what it promised.

    A new incarnation starts with a full grace, because the former one may have granted a lease (R5).
    From proposing itself in an epoch on it grants nothing to the primary of that epoch (R4).
    """

    __slots__ = ("candidate_epoch", "grace_ns", "heard_ns")

    def __init__(self, grace_ns: int, now_ns: int) -> None:
        self.grace_ns = grace_ns
        self.heard_ns = now_ns
        self.candidate_epoch = 0

    def heard(self, now_ns: int) -> None:
        """The primary's beacon has been received now."""
        if now_ns > self.heard_ns:
            self.heard_ns = now_ns

    def ends_ns(self) -> int:
        """Return when this secondary may propose itself."""
        return self.heard_ns + self.grace_ns

    def propose(self, epoch: int) -> None:
        """It proposes itself in place of the primary of `epoch`."""
        self.candidate_epoch = epoch

    def refuses(self, epoch: int) -> bool:
        """Whether a beacon of `epoch` must get no grant."""
        return epoch <= self.candidate_epoch
