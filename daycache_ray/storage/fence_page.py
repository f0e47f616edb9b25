"""The fence page: 4 KiB of shared memory in which a store's owner says what it is at the moment.

Readers in other processes look at it before and after they read a record, so a word must never be
seen torn and some words must agree with each other. Words are 8 bytes, written as one store through
`memoryview.cast("Q")` (`struct.pack_into` was seen torn in 10 % of reads). `WORD_SEQUENCE` is odd while
the owner writes; a reader that saw the same even number before and after has words that agree.

Relies on stores becoming visible in program order, which x86-64 guarantees. Knows nothing of clocks:
whoever reads compares `lease_until_ns` with its own CLOCK_BOOTTIME, and `time_namespace` first.
"""

from __future__ import annotations

import mmap
import os
from typing import Final, NamedTuple

from daycache_ray.words.effects import PublishFence
from daycache_ray.words.errors import StoreFormatError
from daycache_ray.words.types import Role

PAGE_BYTES: Final = 4096
MAGIC: Final = 0x31304643_59414444
"""Says that this is a fence page, and of which format; another number is refused."""

WORD_MAGIC: Final = 0
WORD_SEQUENCE: Final = 1
WORD_EPOCH: Final = 2
WORD_ROLE: Final = 3
WORD_INCARNATION: Final = 4
WORD_LEASE_UNTIL: Final = 5
WORD_COMMIT_LSN: Final = 6
WORD_GENERATION: Final = 7
WORD_APPLIED_LSN: Final = 8
WORD_HORIZON: Final = 9
WORD_TIME_NAMESPACE: Final = 10
WORD_PID_NAMESPACE: Final = 11
WORD_FRESH: Final = 12

_READ_ATTEMPTS: Final = 64


class Fence(NamedTuple):
    """What stood in a fence page at one moment."""

    epoch: int
    role: int
    incarnation: int
    lease_until_ns: int
    commit_lsn: int
    generation: int
    applied_lsn: int
    horizon_ns: int
    time_namespace: int
    pid_namespace: int
    fresh_ns: int = 0


def namespace_inode(kind: str) -> int:
    """Return the inode of this process's namespace of a kind ("time", "pid"), 0 where there is none."""
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return 0


class FenceWriter:
    """The owner's end. One writer per page: whoever holds the store's lock."""

    def __init__(self, path: str) -> None:
        """Open or create the page at `path`; a lease that stood there is gone, `generation` stays.

        Raises:
            StoreFormatError: something else stands there; remove the store.
            OSError: ENOSPC and the like.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            is_new = os.fstat(descriptor).st_size == 0
            os.posix_fallocate(descriptor, 0, PAGE_BYTES)
            self._map = mmap.mmap(descriptor, PAGE_BYTES)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("Q")
        if self._words[WORD_MAGIC] != MAGIC:
            if not is_new and self._words[WORD_MAGIC] != 0:
                self.close()
                raise StoreFormatError(f"{path} is no fence page of this version: wipe the store")
            self._words[WORD_MAGIC] = MAGIC
        self._publish(WORD_LEASE_UNTIL, [0], role=Role.NONE)

    def publish(self, fence: PublishFence) -> None:
        """Show readers what the owner is; they trust it at once."""
        words = self._words
        sequence = words[WORD_SEQUENCE] | 1
        words[WORD_SEQUENCE] = sequence
        words[WORD_EPOCH] = fence.epoch
        words[WORD_ROLE] = fence.role
        words[WORD_INCARNATION] = fence.incarnation
        words[WORD_LEASE_UNTIL] = fence.lease_until_ns
        words[WORD_COMMIT_LSN] = fence.commit_lsn
        words[WORD_APPLIED_LSN] = fence.applied_lsn
        words[WORD_HORIZON] = fence.horizon_ns
        words[WORD_FRESH] = fence.fresh_ns
        words[WORD_SEQUENCE] = sequence + 1

    def set_generation(self, generation: int) -> None:
        """Send readers to another generation of the store; 0: there is none any more."""
        self._publish(WORD_GENERATION, [generation])

    def set_namespaces(self, time_namespace: int, pid_namespace: int) -> None:
        """Say in which namespaces the owner lives; clocks and process ids of others mean nothing to it."""
        self._publish(WORD_TIME_NAMESPACE, [time_namespace, pid_namespace])

    def revoke(self) -> None:
        """Take away the lease and mark the store as fenced: its owner is dead, or leaves."""
        self._publish(WORD_LEASE_UNTIL, [0], role=Role.FENCED)

    def read(self) -> Fence:
        """Return what the page says now."""
        return _fence(self._words)

    def close(self) -> None:
        """Give the mapping back; what was published stays."""
        self._words.release()
        self._map.close()

    def _publish(self, first: int, values: list[int], role: Role | None = None) -> None:
        words = self._words
        sequence = words[WORD_SEQUENCE] | 1
        words[WORD_SEQUENCE] = sequence
        for index, value in enumerate(values, first):
            words[index] = value
        if role is not None:
            words[WORD_ROLE] = role
        words[WORD_SEQUENCE] = sequence + 1


class FencePage:
    """A reader's end. `words` is for hot paths; see the module for what may be concluded from it."""

    def __init__(self, path: str) -> None:
        """Map the page at `path`.

        Raises:
            FileNotFoundError: there is no store.
            StoreFormatError: something else stands there.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size < PAGE_BYTES:
                raise StoreFormatError(f"{path} is no fence page: its store is just being made, or broken")
            self._map = mmap.mmap(descriptor, PAGE_BYTES, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        self.words = memoryview(self._map).cast("Q")
        if self.words[WORD_MAGIC] != MAGIC:
            self.close()
            raise StoreFormatError(f"{path} is no fence page of this version")

    def read(self) -> Fence | None:
        """Return words that agree, or None when the owner died or was stopped while it wrote them."""
        words = self.words
        for _ in range(_READ_ATTEMPTS):
            before = words[WORD_SEQUENCE]
            fence = _fence(words)
            if before & 1 == 0 and words[WORD_SEQUENCE] == before:
                return fence
        return None

    def close(self) -> None:
        """Give the mapping back."""
        self.words.release()
        self._map.close()


def _fence(words: memoryview[int]) -> Fence:
    return Fence(*words[WORD_EPOCH : WORD_FRESH + 1])
