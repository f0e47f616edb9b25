"""How long an entry shall live, as callers say it: seconds from now, until a moment, as the region says, or for ever.

Refuses to know who keeps it.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from daycache_ray.client.arguments import REGION_TTL
from daycache_ray.words.errors import InvalidTtlError
from daycache_ray.words.limits import TTL_S_MAX

Moment: TypeAlias = datetime | float | int

MILLISECONDS_FROM: Final = 1e11
"""Epoch seconds beyond it lie after the year 5000: they count milliseconds nearly always."""


class Until(NamedTuple):
    """An absolute end in wall-clock nanoseconds; it takes the place of a `ttl_s` on its way to the writes."""

    expires_at_ns: int


def lifetime(ttl_s: Any, expires_at: Any) -> Any:
    """Return what the two say together; `expires_at` None says nothing.

    Raises:
        InvalidTtlError: both are given, or `expires_at` is no moment: a datetime with time zone, or seconds since 1970.

    >>> lifetime(5.0, None), lifetime(REGION_TTL, 1_800_000_000)
    (5.0, Until(expires_at_ns=1800000000000000000))
    """
    if expires_at is None:
        return ttl_s
    if ttl_s is not REGION_TTL:
        raise InvalidTtlError("ttl_s and expires_at are both given; write one of them")
    if isinstance(expires_at, datetime):
        if expires_at.tzinfo is None or expires_at.utcoffset() is None:
            raise InvalidTtlError(
                "expires_at has no time zone; write datetime.now(timezone.utc) + …, or .astimezone() for local time"
            )
        seconds = expires_at.timestamp()
    elif isinstance(expires_at, bool) or not isinstance(expires_at, (int, float)):
        kind = type(expires_at).__name__
        raise InvalidTtlError(f"expires_at is a datetime with time zone or seconds since 1970, not {kind}")
    else:
        seconds = float(expires_at)
    if not math.isfinite(seconds):
        raise InvalidTtlError(f"expires_at is {seconds}; write a moment, or ttl_s=None for never")
    if seconds >= MILLISECONDS_FROM:
        raise InvalidTtlError(f"expires_at is {seconds:g}; it counts seconds since 1970, not milliseconds")
    # In two parts: seconds since 1970 times 1e9 do not fit a float.
    whole_s = math.floor(seconds)
    return Until(whole_s * 1_000_000_000 + round((seconds - whole_s) * 1e9))


def ttl_ns_until(until: Until, wall_ns: int) -> int:
    """Return an absolute end as it travels in Operation.ttl_ns.

    Raises:
        InvalidTtlError: it lies not after `wall_ns`, or more than ten years after it.
    """
    left_s = (until.expires_at_ns - wall_ns) / 1e9
    if left_s <= 0:
        raise InvalidTtlError(f"expires_at was {-left_s:.3f} s ago; write a moment to come, or delete the key")
    if left_s > TTL_S_MAX:
        raise InvalidTtlError("expires_at is more than ten years away; ttl_s=None is never")
    return -until.expires_at_ns
