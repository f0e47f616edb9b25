"""What a dead owner's log still holds, for the replica on the same node that takes over."""

from __future__ import annotations

from daycache_ray.words.records import LogRecord


class Salvaged:
    """A fenced store: its lock is held until `release`, so its owner cannot come back meanwhile."""

    records: tuple[LogRecord, ...]
    """Those above `above_lsn`, oldest first, contiguous, values inline."""
    previous_epoch: int
    """Epoch of the record at `above_lsn` in that log; another than one's own: the logs differ."""
    epoch: int
    incarnation: int
    commit_lsn: int
    last_lsn: int

    def release(self) -> None:
        """Let the lock go: the store's owner may be started anew."""
        raise NotImplementedError


def salvage(directory: str, above_lsn: int) -> Salvaged | None:
    """Fence the store in `directory` and return its log above `above_lsn`; None when its owner lives."""
    raise NotImplementedError
