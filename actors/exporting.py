"""A record of a store as an answer carries it: without what hides, and with its value in place of its file's name."""

from __future__ import annotations

from daycache_ray.storage.store import Store
from daycache_ray.structures.tags import TAGGED, cover_of_record
from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag


def exported(store: Store, key: bytes, hidden_ns: int, *, stale: bool) -> bytes | None:
    """Return the record of a store key, None where it is not there, is over at `hidden_ns`, or is hidden by a tag.

    `stale`: what a tag says is over is wanted too, as if it had expired then.

    Raises:
        CacheError, OSError: the value cannot be read.
    """
    record = store.get(key)
    if record is None:
        return None
    if len(record) < HEADER_BYTES:
        raise CorruptRecordError(f"a record of {len(record)} bytes has no header")
    header = HEADER.unpack_from(record)
    if 0 < header[2] <= hidden_ns:
        return None
    if header[6] & TAGGED:
        cover = cover_of_record(key, record, store.get)
        if cover is not None:
            if not cover.over_at_ns or not stale:
                return None
            # As if it had expired then: its reader decides whether that is too long ago.
            ended_ns = min(header[2] or cover.over_at_ns, cover.over_at_ns)
            header = (*header[:2], ended_ns, *header[3:])
            record = HEADER.pack(*header) + record[HEADER_BYTES:]
    if not header[6] & Flag.LARGE:
        return record
    payload = store.payload(key)
    if payload is None:
        return None
    return HEADER.pack(*header[:6], header[6] & ~Flag.LARGE, header[7]) + payload
