"""Tags of entries: how they stand in a record, and when a tag's row hides a record that has it.

A record with Flag.TAGGED has its tags in front of its value (behind the full key of Flag.LONG_KEY): u16 length, then
u8 length and UTF-8 for each. Invalidating a tag writes one record, its row, however many entries have the tag: a
record with Flag.TAG_ROW under ff ff, service, tag, where no slot is. It says which LSNs are over; an entry with a
lower LSN is hidden from then on, and one written later is not. Knows nothing of where records are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple

from daycache_ray.words.limits import TAG_BYTES_MAX, TAGS_MAX
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag

TAGGED: Final = int(Flag.TAGGED)
TAG_ROW: Final = int(Flag.TAG_ROW)
LONG_KEY: Final = int(Flag.LONG_KEY)
ROW_SLOT: Final = b"\xff\xff"
"""In front of the store key of every row: behind all slots."""

_LENGTH: Final = Struct("<H")
_ROW: Final = Struct("<QQQQ")
ROW_BYTES: Final = _ROW.size


class TagRow(NamedTuple):
    """What invalidations have said of a tag. LSNs are exclusive: what was written before is over."""

    gone_lsn: int = 0
    """Entries below are as good as removed."""
    over_lsn: int = 0
    """Entries below are over since `over_at_ns`, wall clock, as if they had expired then."""
    over_at_ns: int = 0
    hidden_count: int = 0
    """Entries that the newest invalidation hid, which is its answer."""

    def packed(self) -> bytes:
        """Return the row as the value of its record."""
        return _ROW.pack(*self)

    def covers(self, lsn: int) -> bool:
        """Whether an entry written at `lsn` is gone or over."""
        return lsn < self.gone_lsn or lsn < self.over_lsn


class Cover(NamedTuple):
    """Why an entry is hidden. `over_at_ns` 0: it is gone; else it is over since then."""

    row_key: bytes
    over_at_ns: int


def pack_tags(tags: Sequence[bytes]) -> bytes:
    """Return what stands in front of the value of an entry with these tags.

    >>> pack_tags([b"news", b"eu"])
    b'\\x08\\x00\\x04news\\x02eu'
    """
    assert 0 < len(tags) <= TAGS_MAX and all(0 < len(tag) <= TAG_BYTES_MAX for tag in tags)
    packed = b"".join(bytes((len(tag),)) + tag for tag in tags)
    return _LENGTH.pack(len(packed)) + packed


def value_start(flags: int, payload: bytes, start: int = 0) -> int:
    """Return where the value begins in a payload that begins at `start`: behind full key and tags.

    Raises:
        ValueError: it is cut off.

    >>> value_start(TAGGED, pack_tags([b"eu"]) + b"value")
    5
    """
    try:
        if flags & LONG_KEY:
            start += 2 + int(_LENGTH.unpack_from(payload, start)[0])
        if flags & TAGGED:
            start += 2 + int(_LENGTH.unpack_from(payload, start)[0])
    except StructError:
        raise ValueError(f"a payload of {len(payload)} bytes is cut off") from None
    return start


def tags_in(flags: int, payload: bytes, start: int = 0) -> list[bytes]:
    """Return the tags of a payload that begins at `start`; none without Flag.TAGGED.

    Raises:
        ValueError: they are cut off, none, too many or too long.

    >>> tags_in(TAGGED, pack_tags([b"news", b"eu"]) + b"value")
    [b'news', b'eu']
    """
    if not flags & TAGGED:
        return []
    tags: list[bytes] = []
    try:
        place = value_start(flags & LONG_KEY, payload, start)
        end = place + 2 + int(_LENGTH.unpack_from(payload, place)[0])
        place += 2
        while place < end:
            length = payload[place]
            tags.append(payload[place + 1 : place + 1 + length])
            place += 1 + length
            if not 0 < length <= TAG_BYTES_MAX or len(tags) > TAGS_MAX:
                raise ValueError(f"a tag of {length} bytes, number {len(tags)}")
    except (StructError, IndexError):
        raise ValueError(f"the tags of a payload of {len(payload)} bytes are cut off") from None
    if place != end or end > len(payload) or not tags:
        raise ValueError(f"the tags of a payload of {len(payload)} bytes do not end where they say")
    return tags


def row_key(service_prefix: bytes, tag: bytes) -> bytes:
    """Return the store key of a tag's row, of the service in a `service_prefix` of structures.store_keys."""
    return ROW_SLOT + service_prefix + tag


def is_row_key(key: bytes) -> bool:
    """Return whether a store key is that of a row."""
    return key[:2] == ROW_SLOT


def rows_of(key: bytes, flags: int, payload: bytes, start: int = 0) -> list[bytes]:
    """Return the store keys of the rows of an entry's tags; errors as `tags_in`."""
    prefix = ROW_SLOT + key[2 : 3 + key[2]]
    return [prefix + tag for tag in tags_in(flags, payload, start)]


def row_in(stored: bytes) -> TagRow:
    """Return the row in a record, or in its value alone."""
    return TagRow(*_ROW.unpack_from(stored, len(stored) - ROW_BYTES))


def cover_of(rows: Sequence[bytes], lsn: int, get: Callable[[bytes], bytes | None]) -> Cover | None:
    """Return why an entry written at `lsn`, whose tags have these `rows`, is hidden; None: it is not.

    `get` returns a row's record, its value alone, or None where nobody has invalidated the tag.
    """
    over: Cover | None = None
    for key in rows:
        stored = get(key)
        if stored is None:
            continue
        row = row_in(stored)
        if lsn < row.gone_lsn:
            return Cover(key, 0)
        if lsn < row.over_lsn and (over is None or row.over_at_ns < over.over_at_ns):
            over = Cover(key, row.over_at_ns)
    return over


def cover_of_record(key: bytes, record: bytes, get: Callable[[bytes], bytes | None]) -> Cover | None:
    """Return why a stored record, with its header, is hidden; None: it is not. Errors as `tags_in`.

    >>> record = HEADER.pack(1, 7, 0, 0, 0, 0, TAGGED, 0) + pack_tags([b"eu"]) + b"value"
    >>> cover_of_record(b"5B\\x03hftAAPL", record, {b"\\xff\\xff\\x03hfteu": TagRow(gone_lsn=8).packed()}.get)
    Cover(row_key=b'\\xff\\xff\\x03hfteu', over_at_ns=0)
    """
    header = HEADER.unpack_from(record)
    flags = header[6]
    if not flags & TAGGED:
        return None
    return cover_of(rows_of(key, flags, record, HEADER_BYTES), header[1], get)
