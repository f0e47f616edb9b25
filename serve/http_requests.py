"""What a request says about a call: key, service, level, deadline, TTL and body, each in the one shape the cache takes.

It refuses to know what is done with them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from fastapi import Header, Path, Query, Request

from daycache_ray.client.arguments import REGION_TTL
from daycache_ray.serve.http_problems import Problem
from daycache_ray.words.errors import InvalidArgumentError, InvalidTtlError, ValueTooLargeError
from daycache_ray.words.limits import SERVICE_BYTES_MAX, VALUE_BYTES_MAX
from daycache_ray.words.types import CacheConsistencyLevel

CacheOfService: TypeAlias = Callable[[str], Awaitable[Any]]
"""Gives the AsyncCache that asks under a service's name."""

DEADLINE_S_MAX: Final = 30.0
"""Longest deadline over HTTP: proxies give up after about a minute."""

# These describe; the checks themselves are the cache's, so that every door answers with the same error.
_LEVELS: Final[dict[str, Any]] = {"enum": [level.value for level in CacheConsistencyLevel]}
_SERVICE: Final[dict[str, Any]] = {"minLength": 1, "maxLength": SERVICE_BYTES_MAX, "pattern": "^[A-Za-z0-9_.:-]+$"}
_SECONDS: Final[dict[str, Any]] = {"exclusiveMinimum": 0, "maximum": DEADLINE_S_MAX}
_TTL: Final[dict[str, Any]] = {"pattern": r"^(never|[1-9][0-9]{0,7}([.][0-9]{1,6})?)$"}
_TAGS: Final[dict[str, Any]] = {"pattern": r"""^([*]|"[0-9]{1,9}-[0-9]{1,9}"(, "[0-9]{1,9}-[0-9]{1,9}")*)$"""}

RegionName = Annotated[str, Path(description="Name of a region.", examples=["market_data"])]
KeyPath = Annotated[
    str,
    Path(
        description="The key: percent-encoded bytes of UTF-8 or any other; a '/' may stand as it is or as %2F.",
        examples=["AAPL"],
    ),
]
Level = Annotated[
    str | None, Query(description="Left out: the region's own.", examples=["strong"], json_schema_extra=_LEVELS)
]
LevelHeader = Annotated[
    str | None, Header(alias="X-DayCache-Level", description="As `level`.", json_schema_extra=_LEVELS)
]
Service = Annotated[
    str | None,
    Query(
        description="Who asks; keys of two services do not meet. Left out: default.",
        examples=["default"],
        json_schema_extra=_SERVICE,
    ),
]
ServiceHeader = Annotated[
    str | None, Header(alias="X-DayCache-Service", description="As `service`.", json_schema_extra=_SERVICE)
]
Deadline = Annotated[
    float | None, Query(description="Seconds until 504; left out: 5.", examples=[2.5], json_schema_extra=_SECONDS)
]
Ttl = Annotated[
    str | None,
    Query(
        description="Seconds to live, or 'never'; left out: what the region is configured with.",
        examples=["60"],
        json_schema_extra=_TTL,
    ),
]
TtlHeader = Annotated[str | None, Header(alias="X-DayCache-Ttl", description="As `ttl_s`.", json_schema_extra=_TTL)]
IfMatch = Annotated[
    str | None,
    Header(description='Tags of versions such as "2-7", or *; 412 where none holds.', json_schema_extra=_TAGS),
]
IfNoneMatch = Annotated[
    str | None,
    Header(description="Tags of versions that the client has, or *; 304 where one holds.", json_schema_extra=_TAGS),
]
OnlyNew = Annotated[
    str | None,
    Header(alias="If-None-Match", description="* writes only where there is none.", json_schema_extra={"enum": ["*"]}),
]

_RAW_KEY: Final = re.compile(rb"/v1/regions/[^/]+/entries/([^?]*)")


class Call(NamedTuple):
    """Who asks, at which level, for how long."""

    service: str
    level: str | None
    deadline_s: float | None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that every call of a region takes."""
        return {"level": self.level, "deadline_s": self.deadline_s}


async def call_of(
    service: Service = None,
    service_header: ServiceHeader = None,
    level: Level = None,
    level_header: LevelHeader = None,
    deadline_s: Deadline = None,
) -> Call:
    """Return the call that a request makes; the query counts before the headers. Async only to spare a thread's hop."""
    if deadline_s is not None and not 0 < deadline_s <= DEADLINE_S_MAX:
        raise InvalidArgumentError(f"deadline_s is {deadline_s:g}; write more than 0 and at most {DEADLINE_S_MAX:g}")
    named = first_of(service, service_header)
    return Call("default" if named is None else named, first_of(level, level_header), deadline_s)


def first_of(query: str | None, header: str | None) -> str | None:
    """Return what stands in the query, else what stands in the header."""
    return header if query is None else query


def ttl_of(query: str | None, header: str | None) -> Any:
    """Return the TTL of a request in seconds, None for never, or the region's; the cache checks its range."""
    text = first_of(query, header)
    if text is None:
        return REGION_TTL
    if text.strip().lower() == "never":
        return None
    try:
        return float(text)
    except ValueError:
        raise InvalidTtlError(f"ttl_s is a number of seconds or 'never', not {text!r}") from None


def key_of(request: Request, decoded: str) -> str | bytes:
    """Return the key as bytes out of the undecoded path, where the server hands it down.

    The decoded path has lost bytes that are no UTF-8.
    """
    found = _RAW_KEY.search(request.scope.get("raw_path") or b"")
    return decoded if found is None else unquote_to_bytes(found[1])


async def body_of(request: Request) -> bytes:
    """Return the body.

    Raises:
        ValueTooLargeError: it is longer than any value may be; the rest is not read.
        Problem: 415, it is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise Problem("unsupported-media-type", f"Content-Encoding {encoding} is not taken; send the value as it is")
    parts, size_bytes = [], 0
    async for part in request.stream():
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > VALUE_BYTES_MAX:
            raise ValueTooLargeError(f"the body has more than {VALUE_BYTES_MAX} bytes; cut the value into parts")
    return b"".join(parts)
