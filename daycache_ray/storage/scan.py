"""Walking the keys of one service in store order: slot by slot, without looking at the others."""

from __future__ import annotations

import struct
from typing import Any, Final

import lmdb

from daycache_ray.storage.large_values import LONG_KEY, flags_of
from daycache_ray.structures.tags import ROW_SLOT, TAGGED, cover_of_record
from daycache_ray.words.limits import SLOT_COUNT, STORE_KEY_BYTES_MAX
from daycache_ray.words.records import HEADER_BYTES, Flag

STEPS_MAX: Final = 20_000
"""Most positions that one call looks at: a rare prefix gives empty pages with a cursor rather than a long stop."""

_EXPIRES_AT: Final = struct.Struct("<Q")
_KEY_LENGTH: Final = struct.Struct("<H")
_LONG_KEY_MARK: Final = b"\xff"


def scan_keys(
    transaction: lmdb.Transaction[bytes],
    data: Any,
    service: bytes,
    prefix: bytes,
    cursor: bytes,
    limit: int,
    horizon_ns: int,
) -> tuple[list[bytes], bytes]:
    """Return up to `limit` full user keys of `service` that begin with `prefix`, and the cursor to go on from.

    `cursor` is empty for the start, the returned one is empty at the end. Entries that are expired at `horizon_ns`
    and remembered misses are left out.
    """
    assert limit > 0
    owner = bytes((len(service),)) + service
    wanted = owner + prefix
    long_keys = owner + _LONG_KEY_MARK
    found: list[bytes] = []
    steps = 0
    with transaction.cursor(db=data) as place:
        # A cursor is the last key looked at: go on behind it.
        there = place.set_range(cursor[:STORE_KEY_BYTES_MAX] if cursor else b"\0\0" + wanted)
        if there and cursor and place.key() == cursor:
            there = place.next()
        while there:
            key, record = place.item()
            if key >= ROW_SLOT:
                break
            if len(found) >= limit or steps >= STEPS_MAX:
                return found, cursor
            steps += 1
            rest = key[2:]
            if rest.startswith((wanted, long_keys)):
                full = _full_key(key, 2 + len(owner), record)
                is_wanted = full.startswith(prefix) and _is_seen(record, horizon_ns)
                if is_wanted and not _is_hidden(transaction, data, key, record):
                    found.append(full)
                cursor = key
                there = place.next()
                continue
            target = _next_place(key, wanted, long_keys)
            if target is None:
                break
            cursor = key
            there = place.set_range(target)
    return found, b""


def _next_place(key: bytes, wanted: bytes, long_keys: bytes) -> bytes | None:
    """Return where the next key of the service may be, seen from a key that is none; None: nowhere."""
    slot, rest = key[:2], key[2:]
    if rest < wanted:
        return slot + wanted
    if rest < long_keys:
        return slot + long_keys
    number = int.from_bytes(slot, "big") + 1
    return None if number >= SLOT_COUNT else number.to_bytes(2, "big") + wanted


def _full_key(stored_key: bytes, start: int, record: bytes) -> bytes:
    if flags_of(record) & LONG_KEY:
        end = HEADER_BYTES + 2 + int(_KEY_LENGTH.unpack_from(record, HEADER_BYTES)[0])
        return record[HEADER_BYTES + 2 : end]
    return stored_key[start:]


def _is_hidden(transaction: lmdb.Transaction[bytes], data: Any, key: bytes, record: bytes) -> bool:
    if not flags_of(record) & TAGGED:
        return False
    return cover_of_record(key, record, lambda row: transaction.get(row, db=data)) is not None


def _is_seen(record: bytes, horizon_ns: int) -> bool:
    if flags_of(record) & Flag.NEGATIVE:
        return False
    expires_at_ns = int(_EXPIRES_AT.unpack_from(record, 16)[0])
    return expires_at_ns == 0 or expires_at_ns > horizon_ns
