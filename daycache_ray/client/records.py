"""A stored record taken apart for a reader; the other way round for a writer of a long key."""

from __future__ import annotations

from typing import NamedTuple

from daycache_ray.codecs.compression import COMPRESSED, decompressed
from daycache_ray.storage.large_values import prefix_bytes
from daycache_ray.storage.reader import is_record_of
from daycache_ray.structures.tags import TAGGED, tags_in, value_start
from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.operations import Operation
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag
from daycache_ray.words.types import Version


class Seen(NamedTuple):
    """What a read found, the value still encoded, and perhaps compressed. `expires_at_ns` 0: never."""

    version: Version
    expires_at_ns: int
    codec: int
    flags: int
    payload: bytes | memoryview
    served_by: str
    staleness_bound_s: float | None
    cost_us: int = 0
    """What its load took, 0 where that is unknown."""
    tags: tuple[str, ...] = ()

    @property
    def is_negative(self) -> bool:
        """Whether it is a remembered miss: the origin has no such key."""
        return bool(self.flags & Flag.NEGATIVE)

    @property
    def plain_payload(self) -> bytes | memoryview:
        """The value's encoded bytes, decompressed where they were not; raises CorruptRecordError."""
        return decompressed(self.payload) if self.flags & COMPRESSED else self.payload

    def is_expired(self, wall_ns: int) -> bool:
        """Whether the clock says that it is over."""
        return 0 < self.expires_at_ns <= wall_ns


def seen_of(
    record: bytes,
    key: bytes,
    served_by: str,
    staleness_bound_s: float | None,
    payload: bytes | memoryview | None = None,
) -> Seen | None:
    """Return a record's parts; None when it belongs to another long key with the same digest.

    `payload` are the value's encoded bytes where the record names a file; None: they stand in the record.

    Raises:
        CorruptRecordError: it is too short to be a record.
    """
    if len(record) < HEADER_BYTES:
        raise CorruptRecordError(f"a record of {len(record)} bytes has no header")
    epoch, lsn, expires_at_ns, _, cost_us, codec, flags, _ = HEADER.unpack_from(record)
    start = HEADER_BYTES
    if flags & Flag.LONG_KEY:
        if not is_record_of(record, key):
            return None
        start += 2 + len(key)
    tags: tuple[str, ...] = ()
    if flags & TAGGED:
        try:
            tags = tuple(tag.decode() for tag in tags_in(flags, record, HEADER_BYTES))
        except ValueError as error:
            raise CorruptRecordError(f"the tags of {key!r} cannot be read: {error}") from None
        start = value_start(flags, record, HEADER_BYTES)
    if payload is None:
        payload = record[start:]
    version = Version(epoch, lsn)
    return Seen(version, expires_at_ns, codec, flags, payload, served_by, staleness_bound_s, cost_us, tags)


def seen_of_own(operation: Operation) -> Seen:
    """Return what a write of this client's will be when it has landed; it has no version yet."""
    payload = operation.value[prefix_bytes(operation.flags, operation.value) :]
    tags = tuple(tag.decode() for tag in tags_in(operation.flags, operation.value))
    return Seen(Version(0, 0), 0, operation.codec, operation.flags, payload, "client", None, 0, tags)


def with_long_key(payload: bytes, key: bytes) -> bytes:
    """Return the payload of a record with Flag.LONG_KEY: the full key stands in front of the value."""
    return len(key).to_bytes(2, "little") + key + payload
