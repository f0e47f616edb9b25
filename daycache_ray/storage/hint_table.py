"""What is known about keys, in shared memory: written by the prefetcher, read by everybody in microseconds.

One file, mapped by all: a header of 8 words and slots of 4 words of 8 bytes each.

    header  magic and format | slots | alive at (wall ms) | hints written | requests ahead | retired | 0 | 0
    slot    key hash | probability f32, reload s f32 | rate 1/s f32, period s f32 | stamp

A hash may stand in any of the 8 slots from its home on; when all are taken the oldest gives way, so
the file never grows. There is one writer, held by a lock for its life, and readers lock nothing: the
writer sets the stamp to 0, writes the words, and sets a stamp that is larger than every one before; a
reader that finds the same stamp before and after has one hint and not two halves. 8-byte stores are
not torn, and not reordered on x86-64. A stamp is wall-clock milliseconds * 256 + counter and pattern.

It refuses to know how the numbers came about. Other nodes have no view of it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xxhash

from daycache_ray.words.errors import StoreFormatError, StoreInUseError
from daycache_ray.words.types import AccessPattern

MAGIC: Final = 0x44_43_48_49_4E_54_00_01
"""'DCHINT', format 1. The machine's own byte order: the file never leaves its node."""

SLOTS_DEFAULT: Final = 1 << 16
_HEADER_WORDS: Final = 8
_SLOT_WORDS: Final = 4
_WINDOW: Final = 8
_PATTERNS: Final = tuple(AccessPattern)


@dataclass(frozen=True, slots=True)
class Hint:
    """What the prefetcher knew of a key at `updated_ms` (wall clock).

    `probability` of being asked for again within the table's `requests_ahead` requests of its region,
    `reload_s` that its origin takes (0: not measured), `rate_per_s` of its accesses, `period_s` where it
    is PERIODIC, else 0. A TTL follows from these in a microsecond (structures.ttl_mathematics), and
    depends on what the reader knows besides, so none is stored.
    """

    probability: float
    pattern: AccessPattern
    reload_s: float
    rate_per_s: float
    period_s: float
    updated_ms: int


def hint_seed(region: str) -> int:
    """Return what `hint_hash` needs to tell one region's keys from another's."""
    return xxhash.xxh3_64_intdigest(region.encode())


def hint_hash(stored: bytes, seed: int) -> int:
    """Return the 64-bit number under which the hint of a store key stands; never 0."""
    return xxhash.xxh3_64_intdigest(stored, seed) or 1


class _Table:
    """The mapped file; both sides see the same words."""

    def __init__(self, descriptor: int, path: Path, *, writable: bool) -> None:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        size = os.fstat(descriptor).st_size
        if size < (_HEADER_WORDS + _SLOT_WORDS) * 8:
            raise StoreFormatError(f"{path} is no hint table: remove it")
        self.path = path
        self._map = mmap.mmap(descriptor, size, access=access)
        self._view = memoryview(self._map)
        self.words = self._view.cast("Q")
        self.floats = self._view.cast("f")
        slots = self.words[1]
        if self.words[0] != MAGIC or slots & (slots - 1) or size != (_HEADER_WORDS + slots * _SLOT_WORDS) * 8:
            self.close()
            raise StoreFormatError(f"{path} was written by another format version: remove it")
        self.mask = slots - 1
        self.slots = slots

    def close(self) -> None:
        """Give the mapping back."""
        self.words.release()
        self.floats.release()
        self._view.release()
        self._map.close()


class HintReader:
    """Reads hints of this node; safe beside the writer, between threads and after a fork."""

    def __init__(self, path: str | Path) -> None:
        """Map the table; FileNotFoundError when no prefetcher ever ran here, StoreFormatError when it is none."""
        path = Path(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._table = _Table(descriptor, path, writable=False)
        finally:
            os.close(descriptor)
        self._words = self._table.words
        self._floats = self._table.floats
        self._mask = self._table.mask

    @property
    def alive_ms(self) -> int:
        """Wall-clock milliseconds at which the writer last said that it lives."""
        return self._words[2]

    @property
    def requests_ahead(self) -> int:
        """The horizon of the probabilities, in requests of a region."""
        return self._words[4]

    @property
    def retired(self) -> bool:
        """Whether a newer file has taken this one's place: open the path again."""
        return self._words[5] != 0

    def get(self, key_hash: int) -> Hint | None:
        """Return the hint of a key, or None where there is none (or it is just being rewritten)."""
        words = self._words
        mask = self._mask
        home = key_hash & mask
        for step in range(_WINDOW):
            at = _HEADER_WORDS + ((home + step) & mask) * _SLOT_WORDS
            if words[at] != key_hash:
                continue
            for _ in range(8):
                stamp = words[at + 3]
                floats = self._floats
                probability, reload_s = floats[2 * at + 2], floats[2 * at + 3]
                rate_per_s, period_s = floats[2 * at + 4], floats[2 * at + 5]
                if stamp and words[at] == key_hash and words[at + 3] == stamp:
                    pattern = _PATTERNS[stamp & 3]
                    return Hint(probability, pattern, reload_s, rate_per_s, period_s, stamp >> 8)
                if words[at] != key_hash:
                    break
        return None

    def close(self) -> None:
        """Give the mapping back; `get` must not be called after."""
        self._table.close()


class HintWriter:
    """The one writer of a node's table. Keeps the lock until it is closed or its process ends."""

    def __init__(self, path: str | Path, *, slots: int = SLOTS_DEFAULT, requests_ahead: int = 64) -> None:
        """Open the table, or make it. `slots` is a power of two from 8 on; each takes 32 bytes.

        Raises:
            StoreInUseError: another process writes it; there is one prefetcher per cluster and node.
        """
        assert slots >= _WINDOW, "a window must fit"
        assert slots & (slots - 1) == 0, "a power of two"
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StoreInUseError(f"another process writes {self._path}") from None
        self._table = self._open(slots)
        self._words = self._table.words
        self._floats = self._table.floats
        self._words[4] = requests_ahead
        self._stamp = max(self._words[_HEADER_WORDS + 3 :: _SLOT_WORDS].tolist())

    def put(self, key_hash: int, hint: Hint) -> None:
        """Write a hint over the key's earlier one, into a free slot, or over the oldest of its window."""
        assert 0 < key_hash < 1 << 64, "see hint_hash"
        words = self._words
        mask = self._table.mask
        oldest_at, oldest_stamp = 0, 1 << 64
        for step in range(_WINDOW):
            at = _HEADER_WORDS + ((key_hash + step) & mask) * _SLOT_WORDS
            if words[at] == key_hash:
                oldest_at = at
                break
            stamp = words[at + 3]
            if stamp < oldest_stamp:
                oldest_at, oldest_stamp = at, stamp
        at = oldest_at
        # Never the same stamp twice, or a reader could take halves of two hints for one.
        self._stamp = max((hint.updated_ms << 8) | _PATTERNS.index(hint.pattern), self._next_stamp(hint.pattern))
        words[at + 3] = 0
        words[at] = key_hash
        self._floats[2 * at + 2] = hint.probability
        self._floats[2 * at + 3] = hint.reload_s
        self._floats[2 * at + 4] = hint.rate_per_s
        self._floats[2 * at + 5] = hint.period_s
        words[at + 3] = self._stamp
        words[3] += 1

    def say_alive(self, now_ms: int) -> None:
        """Note that the writer lives; readers tell old hints from a dead writer's."""
        self._words[2] = now_ms

    @property
    def written_count(self) -> int:
        """Hints written since the file was made."""
        return self._words[3]

    def close(self) -> None:
        """Give mapping and lock back; the file stays for readers and the next writer."""
        self._table.close()
        os.close(self._lock)

    def _next_stamp(self, pattern: AccessPattern) -> int:
        return ((self._stamp >> 2) + 1 << 2) | _PATTERNS.index(pattern)

    def _open(self, slots: int) -> _Table:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return self._make(slots)
        try:
            table = _Table(descriptor, self._path, writable=True)
        except StoreFormatError:
            return self._make(slots)
        finally:
            os.close(descriptor)
        if table.slots == slots:
            return table
        table.words[5] = 1
        table.close()
        return self._make(slots)

    def _make(self, slots: int) -> _Table:
        # Whole before it has its name: a reader never maps half a table.
        fresh = self._path.with_name(f"{self._path.name}.new")
        size = (_HEADER_WORDS + slots * _SLOT_WORDS) * 8
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            # A full tmpfs must be an error here and not SIGBUS at the first write.
            os.posix_fallocate(descriptor, 0, size)
            os.pwrite(descriptor, MAGIC.to_bytes(8, "little") + slots.to_bytes(8, "little"), 0)
            os.rename(fresh, self._path)
            return _Table(descriptor, self._path, writable=True)
        finally:
            os.close(descriptor)
