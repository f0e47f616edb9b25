"""Dates and times as bytes inside a container: exact to the microsecond, zone and fold included.

msgspec would turn every zone into UTC and naive times into text; what comes back here has the type and
the zone that went in. Zones are `datetime.timezone` (with its name) and `zoneinfo.ZoneInfo` (by key).
"""

from __future__ import annotations

import datetime as dt
import struct
import zoneinfo
from typing import Final

from daycache_ray.words.errors import InvalidValueError

_DATE: Final = struct.Struct(">HBB")
_TIME: Final = struct.Struct(">BBBIB")
_DELTA: Final = struct.Struct(">iiI")


def pack_date(value: dt.date) -> bytes:
    """Return year, month and day."""
    return _DATE.pack(value.year, value.month, value.day)


def unpack_date(data: memoryview) -> dt.date:
    """Return the date of `pack_date`."""
    return dt.date(*_DATE.unpack(data))


def pack_time(value: dt.time) -> bytes:
    """Return the time of day, its fold and its zone."""
    clock = _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)
    return clock + _pack_zone(value.tzinfo)


def unpack_time(data: memoryview) -> dt.time:
    """Return the time of `pack_time`."""
    hour, minute, second, microsecond, fold = _TIME.unpack_from(data)
    return dt.time(hour, minute, second, microsecond, _unpack_zone(data[_TIME.size :]), fold=fold)


def pack_datetime(value: dt.datetime) -> bytes:
    """Return date, time of day, fold and zone."""
    return pack_date(value) + pack_time(value.timetz())


def unpack_datetime(data: memoryview) -> dt.datetime:
    """Return the moment of `pack_datetime`."""
    return dt.datetime.combine(unpack_date(data[: _DATE.size]), unpack_time(data[_DATE.size :]))


def pack_timedelta(value: dt.timedelta) -> bytes:
    """Return days, seconds and microseconds."""
    return _DELTA.pack(value.days, value.seconds, value.microseconds)


def unpack_timedelta(data: memoryview) -> dt.timedelta:
    """Return the span of `pack_timedelta`."""
    return dt.timedelta(*_DELTA.unpack(data))


def _pack_zone(zone: dt.tzinfo | None) -> bytes:
    if zone is None:
        return b""
    if zone is dt.timezone.utc:
        return b"U"
    if type(zone) is dt.timezone:
        # Its initargs are (offset,) or (offset, name); the name has no public accessor that tells given from derived.
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        return b"O" + pack_timedelta(offset) + b"".join(b"=" + part.encode("utf-8", "surrogatepass") for part in name)
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return b"Z" + zone.key.encode()
    raise InvalidValueError(
        f"a time in the zone {zone!r} of type '{type(zone).__module__}.{type(zone).__qualname__}' cannot be stored "
        "exactly; use datetime.timezone or zoneinfo.ZoneInfo with a key"
    )


def _unpack_zone(data: memoryview) -> dt.tzinfo | None:
    if not data:
        return None
    kind, rest = data[0], data[1:]
    if kind == ord("U") and not rest:
        return dt.timezone.utc
    if kind == ord("Z"):
        return zoneinfo.ZoneInfo(str(rest, "utf-8"))
    if kind != ord("O"):
        raise ValueError("unknown kind of zone")
    offset, name = unpack_timedelta(rest[: _DELTA.size]), rest[_DELTA.size :]
    if not name:
        return dt.timezone(offset)
    return dt.timezone(offset, str(name[1:], "utf-8", "surrogatepass"))
