"""What a record that was dirty is when the origin has it."""

from __future__ import annotations

from typing import Final

from daycache_ray.words.records import Flag

_FLAGS_OFFSET: Final = 37
"""Of a record's header, see words/records.py."""
_CLEANED: Final = 0xFF & ~int(Flag.DIRTY)


def cleaned(record: bytes) -> bytes | None:
    """Return the clean record; None where it was a delete that waited, and nothing is left of it."""
    flags = record[_FLAGS_OFFSET]
    if flags & Flag.NEGATIVE:
        return None
    return b"".join((record[:_FLAGS_OFFSET], bytes((flags & _CLEANED,)), record[_FLAGS_OFFSET + 1 :]))
