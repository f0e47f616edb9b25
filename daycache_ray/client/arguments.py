"""What callers hand in, checked at the door: a typed error that says what to write instead.

Refuses to know where keys live or who answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import (
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTtlError,
    UnknownLevelError,
    UnknownRegionError,
    UnknownServiceError,
    ValueTooLargeError,
)
from daycache_ray.words.limits import (
    KEY_BYTES_MAX,
    SERVICE_BYTES_MAX,
    TAG_BYTES_MAX,
    TAGS_MAX,
    TTL_S_MAX,
    VALUE_BYTES_MAX,
)
from daycache_ray.words.operations import Level
from daycache_ray.words.records import Priority
from daycache_ray.words.types import CacheRegion, Version

DEADLINE_S: Final = 5.0
"""How long a call tries when it does not say."""

DEADLINE_S_MAX: Final = 86_400.0

LEVELS: Final[dict[Any, Level]] = {"strong": Level.STRONG, "eventual": Level.EVENTUAL, "weak": Level.WEAK}
"""By name; a CacheConsistencyLevel hashes and compares as its name."""


PRIORITIES: Final = {"normal": int(Priority.NORMAL), "low": int(Priority.LOW), "high": int(Priority.HIGH)}


class RegionTtl:
    """The type of REGION_TTL, the default of every `ttl_s`."""

    def __repr__(self) -> str:
        return "REGION_TTL"

    def __reduce__(self) -> str:
        return "REGION_TTL"


REGION_TTL: Final = RegionTtl()
"""Says: the TTL of the region's configuration. None says: never expires."""


def key_bytes(key: Any) -> bytes:
    """Return a key's bytes; str is encoded as UTF-8.

    Raises:
        InvalidKeyError: it is no str or bytes, empty, longer than 4 096 bytes, or no valid text.

    >>> key_bytes("AAPL"), key_bytes(b"AAPL")
    (b'AAPL', b'AAPL')
    """
    if isinstance(key, str):
        try:
            raw = key.encode()
        except UnicodeEncodeError:
            raise InvalidKeyError("the key has lone surrogates; give its bytes instead") from None
    elif isinstance(key, bytes):
        raw = bytes(key)
    else:
        raise InvalidKeyError(f"a key is str or bytes, not {type(key).__name__}; write str(key) if that names it")
    if not raw:
        raise InvalidKeyError("the key is empty; a key has 1 to 4096 bytes")
    if len(raw) > KEY_BYTES_MAX:
        raise InvalidKeyError(f"the key has {len(raw)} bytes, at most {KEY_BYTES_MAX} are taken; use a digest of it")
    return raw


def tags_bytes(tags: Any) -> tuple[bytes, ...]:
    """Return the tags of an entry as they are stored, each once.

    Raises:
        InvalidArgumentError: it is no sequence of at most 16 tags of 1 to 128 bytes.

    >>> tags_bytes(["news", "eu", "news"])
    (b'news', b'eu')
    """
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        raise InvalidArgumentError(f"tags are a sequence of str, not {type(tags).__name__}: write tags=('news',)")
    found = tuple(dict.fromkeys(map(tag_bytes, tags)))
    if len(found) > TAGS_MAX:
        raise InvalidArgumentError(f"an entry has at most {TAGS_MAX} tags, not {len(found)}")
    return found


def tags_of(tags: Any) -> tuple[str, ...]:
    """Return the tags of an entry, checked; raises as `tags_bytes`."""
    found = tags if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable) else tuple(tags)
    tags_bytes(found)
    return tuple(found)


def tag_bytes(tag: Any) -> bytes:
    """Return a tag as it is stored.

    Raises:
        InvalidArgumentError: it is no str of 1 to 128 bytes.
    """
    if not isinstance(tag, str):
        raise InvalidArgumentError(f"a tag is a str, not {type(tag).__name__}")
    try:
        raw = tag.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("the tag has lone surrogates; a tag is text") from None
    if not 0 < len(raw) <= TAG_BYTES_MAX:
        raise InvalidArgumentError(f"the tag has {len(raw)} bytes; a tag has 1 to {TAG_BYTES_MAX}")
    return raw


def key_text(key: bytes) -> str | bytes:
    """Return a stored key as a user would write it: str where its bytes are UTF-8, else the bytes."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key


def level_number(level: Any) -> Level:
    """Return the level as it travels.

    Raises:
        UnknownLevelError: it is not one of strong, eventual, weak.
    """
    try:
        return LEVELS[level.lower() if type(level) is str else level]
    except (KeyError, TypeError):
        raise UnknownLevelError(f"there is no level {level!r}; write 'strong', 'eventual' or 'weak'") from None


def _number(value: Any, name: str, error: type[InvalidTtlError | InvalidArgumentError]) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise error(f"{name} is a number of seconds, not {type(value).__name__}")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise error(f"{name} is a number of seconds, not {value!r}") from None
    if math.isnan(number):
        raise error(f"{name} is NaN; write a number of seconds above 0")
    return number


def ttl_ns_of(ttl_s: Any) -> int:
    """Return a TTL in nanoseconds as it travels; None, never, is 0.

    Raises:
        InvalidTtlError: it is no number, NaN, zero, negative, infinite or beyond ten years.

    >>> ttl_ns_of(1.5), ttl_ns_of(None)
    (1500000000, 0)
    """
    if ttl_s is None:
        return 0
    seconds = _number(ttl_s, "ttl_s", InvalidTtlError)
    if seconds <= 0:
        raise InvalidTtlError(f"ttl_s is {seconds:g}; write more than 0, None for never, or delete the key")
    if seconds > TTL_S_MAX:
        raise InvalidTtlError(f"ttl_s is {seconds:g}, more than ten years; it counts seconds, and None is never")
    return max(1, round(seconds * 1e9))


def deadline_of(deadline_s: Any, default_s: float = DEADLINE_S) -> float:
    """Return the seconds that a call may take.

    Raises:
        InvalidArgumentError: it is no number above 0 and up to a day.
    """
    if deadline_s is None:
        return default_s
    seconds = _number(deadline_s, "deadline_s", InvalidArgumentError)
    if not 0 < seconds <= DEADLINE_S_MAX:
        raise InvalidArgumentError(f"deadline_s is {seconds:g}; write more than 0 and at most {DEADLINE_S_MAX:g}")
    return seconds


def staleness_of(max_staleness_s: Any) -> float:
    """Return how many seconds old an answer may be.

    Raises:
        InvalidArgumentError: it is no number of 0 or more.
    """
    seconds = _number(max_staleness_s, "max_staleness_s", InvalidArgumentError)
    if seconds < 0:
        raise InvalidArgumentError(f"max_staleness_s is {seconds:g}; write 0, for the newest, or more")
    return seconds


def check_value_size(payload: bytes) -> None:
    """Raise ValueTooLargeError where an encoded value exceeds the limit of one message."""
    if len(payload) > VALUE_BYTES_MAX:
        text = f"the encoded value has {len(payload)} bytes, at most {VALUE_BYTES_MAX} are taken"
        raise ValueTooLargeError(f"{text}; cut it into parts or store a reference")


def increment_of(by: Any) -> int | float:
    """Return what an increment adds.

    Raises:
        InvalidArgumentError: it is no int or finite float.
    """
    if isinstance(by, bool) or not isinstance(by, (int, float)):
        raise InvalidArgumentError(f"by is an int or float, not {type(by).__name__}")
    if isinstance(by, float) and not math.isfinite(by):
        raise InvalidArgumentError(f"by is {by}; write a finite number")
    if isinstance(by, int) and not -(2**63) <= by < 2**63:
        raise InvalidArgumentError("by does not fit 64 bits")
    return by


def priority_number(priority: Any) -> int:
    """Return a priority as it travels.

    Raises:
        InvalidArgumentError: it is not one of low, normal, high.

    >>> priority_number("normal"), priority_number("low")
    (0, 1)
    """
    number = PRIORITIES.get(priority) if isinstance(priority, str) else None
    if number is None:
        raise InvalidArgumentError(f"there is no priority {priority!r}; write 'low', 'normal' or 'high'")
    return number


def expected_of(expected: Any) -> Version:
    """Return the version that compare_and_set expects; None, absent, is (0, 0).

    Raises:
        InvalidArgumentError: it is no Version or pair of two numbers from 0.
    """
    if expected is None:
        return Version(0, 0)
    pair = isinstance(expected, (tuple, list)) and len(expected) == 2
    if not pair or not all(isinstance(part, int) and 0 <= part < 2**64 for part in expected):
        raise InvalidArgumentError(f"expected is a Version, or None for absent, not {expected!r}")
    return Version(*expected)


def region_name(region: Any, config: ClusterConfig) -> str:
    """Return a region's name; raises UnknownRegionError with those that there are."""
    name = region.value if isinstance(region, CacheRegion) else region
    names = [known.name for known in config.regions]
    if name not in names:
        raise UnknownRegionError(f"cluster '{config.name}' has no region {name!r}; it has {', '.join(names)}")
    return str(name)


def service_name(service: Any, config: ClusterConfig) -> str:
    """Return a service's name, checked against the services that the cluster lists, if it does.

    Raises:
        UnknownServiceError: the cluster lists its services and this is none of them.
        InvalidArgumentError: it is no str of 1 to 64 bytes.
    """
    if not isinstance(service, str) or not 1 <= len(service.encode("utf-8", "replace")) <= SERVICE_BYTES_MAX:
        raise InvalidArgumentError(f"a service's name is a str of 1 to {SERVICE_BYTES_MAX} bytes, not {service!r}")
    names = [known.name for known in config.services]
    if names and service not in names:
        raise UnknownServiceError(f"cluster '{config.name}' has no service '{service}'; it lists {', '.join(names)}")
    return service
