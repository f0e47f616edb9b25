"""A stored record as it leaves the replica: header and payload in one piece."""

from __future__ import annotations

from daycache_ray.storage.store import Store
from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag


def exported(store: Store, key: bytes, hidden_ns: int) -> bytes | None:
    """Return a record as it travels, its payload inline; None where there is none, or it is over at `hidden_ns`."""
    record = store.get(key)
    if record is None:
        return None
    if len(record) < HEADER_BYTES:
        raise CorruptRecordError(f"a record of {len(record)} bytes has no header")
    header = HEADER.unpack_from(record)
    if 0 < header[2] <= hidden_ns:
        return None
    if not header[6] & Flag.LARGE:
        return record
    payload = store.payload(key)
    if payload is None:
        return None
    return HEADER.pack(*header[:6], header[6] & ~Flag.LARGE, header[7]) + payload
