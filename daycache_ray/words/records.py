"""What a shard's log is made of, and the header in front of every stored value.

A stored record is `HEADER` followed by its payload. The header is the same in the store, in an answer
on a socket and in a copy for a joining replica:

    epoch u64 | lsn u64 | expires_at_ns u64 | order u64 | cost_us u32 | codec u8 | flags u8 | reserved u16

`expires_at_ns` is wall-clock nanoseconds, 0 for never. `order` is the record's place in the store's
own eviction queues (local to one replica): its highest byte is the queue. `cost_us` is what the origin
took, 0 when unknown. The lowest two bits of `reserved` are the `Priority`.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

import msgspec

HEADER: Final = struct.Struct("<QQQQIBBH")
HEADER_BYTES: Final = HEADER.size
assert HEADER_BYTES == 40


class Header(NamedTuple):
    """The unpacked header of a stored record; see the module for units."""

    epoch: int
    lsn: int
    expires_at_ns: int
    order: int
    cost_us: int
    codec: int
    flags: int
    reserved: int


class Flag(enum.IntFlag):
    """Bits of `Header.flags` and `LogRecord.flags`."""

    PREFETCHED = 1
    """Loaded before anybody asked, and not asked for since."""
    NEGATIVE = 2
    """The origin has no such key: a remembered miss."""
    LARGE = 4
    """The payload names a file beside the store: u64 size, u64 xxh3 of its bytes, then the name."""
    LONG_KEY = 8
    """The payload begins with u16 length and the full key, which LMDB could not hold."""
    COMPRESSED = 16
    """The value is compressed, as codecs/compression.py describes it; the codec is that of what comes out."""
    DIRTY = 32
    """Write-behind: the origin has not got this version yet. With NEGATIVE it is a delete that waits."""
    TAGGED = 64
    """The entry's tags stand in front of its value, as structures/tags.py describes it."""
    TAG_ROW = 128
    """No entry: what has been said of a tag, under a store key of its own (structures/tags.py)."""


class Priority(enum.IntEnum):
    """How early an entry is evicted: the lowest two bits of `Header.reserved`."""

    NORMAL = 0
    LOW = 1
    """Before everything else of its service."""
    HIGH = 2
    """Unused it is spared at three of four meetings with the hand."""


PRIORITY_MASK: Final = 3


class Codec(enum.IntEnum):
    """What the payload's bytes mean. Numbers are part of the format: never reuse one."""

    BYTES = 0
    STR = 1
    INT = 2
    """Decimal ASCII, any size, so that `increment` needs no codec."""
    FLOAT = 3
    """Eight bytes, little-endian IEEE 754."""
    NONE = 4
    BOOL = 5
    MSGPACK = 6
    NUMPY = 7
    ARROW = 8
    TORCH = 9
    PICKLE = 10
    PANDAS = 11
    POLARS = 12


class RecordKind(enum.IntEnum):
    """What a log record does to its key."""

    PUT = 1
    DELETE = 2
    EVICT = 3
    """Removal for space of exactly `target`; any other version of the key stays."""
    EXPIRE = 4
    """Removal for age of exactly `target`."""
    HORIZON = 5
    """No key: entries whose `expires_at_ns` is at or below this record's are expired for STRONG."""
    EPOCH = 6
    """No key: the first record of a primary's epoch."""
    CLEAN = 7
    """The origin has exactly `target`: it is dirty no more, and a delete that waited is gone."""


KEYLESS_KINDS: Final = frozenset({int(RecordKind.HORIZON), int(RecordKind.EPOCH)})
"""Records that are about no key."""


class LogRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record of a shard's log; `key` is a store key (slot, service, key)."""

    lsn: int
    epoch: int
    kind: int
    key: bytes = b""
    value: bytes = b""
    codec: int = 0
    flags: int = 0
    expires_at_ns: int = 0
    cost_us: int = 0
    target_epoch: int = 0
    target_lsn: int = 0
    client: int = 0
    sequence: int = 0
    strong: bool = False
    """Its writer waits for the commit: the record is applied only then."""
    priority: int = 0


class Recovered(msgspec.Struct, frozen=True):
    """What a store knows when it is opened: the machine starts from it.

    `records` are the retained log, oldest first, contiguous from `base_lsn + 1`; `base_epoch` is the
    epoch of the record at `base_lsn`. A new store has `base_lsn == 0` and no records.
    """

    store_id: int
    epoch: int
    commit_lsn: int
    base_lsn: int
    base_epoch: int
    horizon_ns: int
    records: tuple[LogRecord, ...]
    applied_lsn: int = 0
    """Highest LSN whose effect is visible in the store; above `commit_lsn` only on an ex-primary."""
