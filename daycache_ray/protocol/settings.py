"""The times and limits of a replica's machine, and the switches of the simulator's mutations."""

from __future__ import annotations

from typing import NamedTuple

from daycache_ray.words.limits import LOG_BYTES_KEPT, LOG_RECORDS_KEPT

MS = 1_000_000


class ReplicaSettings(NamedTuple):
    """Times in nanoseconds of CLOCK_BOOTTIME.

    `grace_ns` must cover `lease_ns` on the slower clock: grace >= lease * (1 + drift) / (1 - drift) (R3).
    `strong_copies` is min_in_sync of STRONG writes, this replica included. `without` names rules that
    are switched off: only the simulator and tests do that, to see that the rule is needed.
    """

    beacon_ns: int = 150 * MS
    lease_ns: int = 600 * MS
    grace_ns: int = 640 * MS
    silence_ns: int = 1000 * MS
    strong_copies: int = 1
    prepare_records_max: int = 512
    prepare_bytes_max: int = 1024 * 1024
    copy_bytes_max: int = 256 * 1024
    log_records_kept: int = LOG_RECORDS_KEPT
    log_bytes_kept: int = LOG_BYTES_KEPT
    horizon_ns: int = 100 * MS
    """Least time between two horizon records: a STRONG read may show an entry this long after its expiry."""
    ship_ns: int = MS
    """How long an EVENTUAL write may wait for others to be sent to the secondaries with it."""
    notice_ns: int = 5 * MS
    """How long a commit may wait for a Prepare that tells the secondaries of it."""
    uncommitted_records_max: int = 1_000_000
    uncommitted_bytes_max: int = 256 * 1024 * 1024
    """Beyond either, while the others do not keep up, writes are refused (R25)."""
    writes_behind: bool = False
    """What clients write must reach the origin later: their records are dirty until `OriginHas` says so."""
    without: frozenset[str] = frozenset()
