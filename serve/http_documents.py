"""What /openapi.json says of each route beside its parameters: bodies, headers, problems, with an example of each."""

from __future__ import annotations

from typing import Any, Final

from daycache_ray.serve.http_problems import MEDIA_TYPE, TYPE_PREFIX
from daycache_ray.serve.http_values import ARROW, JSON, NPY, OCTETS, TEXT

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_VALUES: Final[dict[str, Any]] = {
    OCTETS: {**_BINARY, "example": "any bytes"},
    TEXT: {"schema": {"type": "string"}, "example": "150.25 USD"},
    JSON: {"schema": {}, "example": {"bid": 150.25, "ask": 150.26}},
    NPY: _BINARY,
    ARROW: _BINARY,
}
_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "What kind of problem; never changes."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened and what to do."},
        "current": {"type": "string", "description": "With 412: the entry's version."},
        "retry_after_s": {"type": "number"},
    },
}
_ENTRY_HEADERS: Final = {
    "ETag": "The version as a strong tag.",
    "X-DayCache-Version": "Epoch and LSN.",
    "X-DayCache-Served-By": "Which copy answered.",
    "X-DayCache-Level": "The level that the read was answered at.",
    "Age": "Seconds by which the answer may be out of date, rounded up; absent where no bound is known.",
    "Expires": "When the entry expires; absent where it never does.",
    "X-DayCache-Expires-At": "The same in seconds since 1970, with fractions.",
}
_WRITTEN_HEADERS: Final = {name: _ENTRY_HEADERS[name] for name in ("ETag", "X-DayCache-Version")}


def without_validation_errors(described: dict[str, Any]) -> dict[str, Any]:
    """Return FastAPI's description without its own 422 for wrong parameters: here that is a 400 like any other."""
    for methods in described["paths"].values():
        for operation in methods.values():
            answer = operation["responses"].get("422", {})
            if JSON in answer.get("content", {}):
                del operation["responses"]["422"]
    return described


def _headers(descriptions: dict[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in descriptions.items()}


def _problem(status: int, slug: str, detail: str) -> dict[int, Any]:
    example = {
        "type": TYPE_PREFIX + slug,
        "title": slug.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
    }
    return {status: {"description": detail, "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA, "example": example}}}}


BAD_REQUEST: Final = _problem(400, "invalid-key", "the key is empty; a key has 1 to 4096 bytes")
_FORBIDDEN: Final = _problem(403, "unknown-service", "cluster 'shop' has no service 'x'; it lists order-service")
_NO_REGION: Final = _problem(404, "unknown-region", "cluster 'shop' has no region 'x'; it has orders")
_NO_KEY: Final = _problem(404, "key-not-found", "region 'orders' has no entry 'x', or there is no such region")
_NOT_ACCEPTABLE: Final = _problem(406, "not-acceptable", "a value of type 'bytes' is not application/json")
_PICKLED: Final = _problem(409, "pickled-value", "the entry holds a pickle, and reading one runs code of its writer")
_CONFLICT: Final = _problem(412, "version-conflict", "the entry's version is 2-8")
_TOO_LARGE: Final = _problem(413, "value-too-large", "the body has more than 536870912 bytes")
_MEDIA: Final = _problem(415, "unsupported-media-type", "application/x-pickle: a pickle runs code where it is read")
_TTL: Final = _problem(422, "invalid-ttl", "ttl_s is -1; write more than 0, 'never', or delete the key")
_INSIDE: Final = _problem(500, "corrupt-record", "a stored text is no UTF-8")
_BUSY: Final = _problem(503, "shard-unavailable", "no replica of orders/0 answers; try again in a moment")
_LATE: Final = _problem(504, "deadline-exceeded", "the deadline passed; nothing was written")
_FULL: Final = _problem(507, "region-full", "nothing in the region may be evicted")
_ALWAYS: Final = {**BAD_REQUEST, **_FORBIDDEN, **_INSIDE, **_BUSY, **_LATE}
_NOT_MODIFIED: Final = {304: {"description": "The client has this version.", "headers": _headers(_WRITTEN_HEADERS)}}
_READ: Final = {**_ALWAYS, **_NO_KEY, **_NOT_ACCEPTABLE, **_PICKLED, **_CONFLICT, **_NOT_MODIFIED}
_BARE: Final = {status: {"description": answer["description"]} for status, answer in _READ.items()}

GET: Final[dict[str, Any]] = {
    "operation_id": "get_entry",
    "tags": ["entries"],
    "responses": {
        200: {
            "description": "The value, as the request accepts it.",
            "content": _VALUES,
            "headers": _headers(_ENTRY_HEADERS),
        },
        **_READ,
    },
}
HEAD: Final[dict[str, Any]] = {
    "operation_id": "head_entry",
    "tags": ["entries"],
    "responses": {200: {"description": "The headers of GET.", "headers": _headers(_ENTRY_HEADERS)}, **_BARE},
}
PUT: Final[dict[str, Any]] = {
    "operation_id": "put_entry",
    "tags": ["entries"],
    "openapi_extra": {"requestBody": {"description": "The value.", "required": True, "content": _VALUES}},
    "responses": {
        201: {"description": "Written where there was none (If-None-Match: *).", "headers": _headers(_WRITTEN_HEADERS)},
        202: {"description": "Level weak: on its way; it has no version yet."},
        204: {"description": "Written.", "headers": _headers(_WRITTEN_HEADERS)},
        **_ALWAYS,
        **_NO_REGION,
        **_CONFLICT,
        **_TOO_LARGE,
        **_MEDIA,
        **_TTL,
        **_FULL,
    },
}
DELETE: Final[dict[str, Any]] = {
    "operation_id": "delete_entry",
    "tags": ["entries"],
    "responses": {204: {"description": "Removed."}, **_ALWAYS, **_NO_KEY},
}
_ITEMS: Final = [
    {"key": "AAPL", "found": True, "value": {"bid": 150.25}},
    {"key": "logo", "found": True, "media_type": OCTETS, "base64": "iVBORw0="},
    {"key": "no such key", "found": False},
]
_ITEM_SCHEMA: Final = {
    "type": "object",
    "required": ["key", "found"],
    "properties": {
        "key": {"type": "string"},
        "found": {"type": "boolean"},
        "value": {"description": "The value where JSON can hold it."},
        "media_type": {"type": "string"},
        "base64": {"type": "string", "description": "The value in its media type."},
        "problem": _PROBLEM_SCHEMA,
    },
}
BATCH_GET: Final[dict[str, Any]] = {
    "operation_id": "batch_get_entries",
    "tags": ["entries"],
    "responses": {
        200: {
            "description": "One item for each key, in the order asked for.",
            "content": {
                JSON: {
                    "schema": {
                        "type": "object",
                        "required": ["entries"],
                        "properties": {"entries": {"type": "array", "items": _ITEM_SCHEMA}},
                    },
                    "example": {"entries": _ITEMS},
                }
            },
        },
        **_ALWAYS,
        **_NO_REGION,
    },
}


def _object(description: str, example: dict[str, Any]) -> dict[int, Any]:
    return {200: {"description": description, "content": {JSON: {"schema": {"type": "object"}, "example": example}}}}


STATISTICS: Final[dict[str, Any]] = {
    "operation_id": "get_statistics",
    "responses": {
        **_object(
            "Every region, as this door's client sees it.",
            {"regions": {"orders": {"entries_count": 3, "hit_ratio": 0.9}}},
        ),
        **_ALWAYS,
    },
}
CLUSTER: Final[dict[str, Any]] = {
    "operation_id": "get_cluster",
    "responses": {
        **_object("Who serves what; no secrets.", {"name": "shop", "version": 12, "shards": []}),
        **_ALWAYS,
    },
}
HEALTHZ: Final[dict[str, Any]] = {
    "operation_id": "get_healthz",
    "responses": _object("This process answers.", {"status": "ok"}),
}
READYZ: Final[dict[str, Any]] = {
    "operation_id": "get_readyz",
    "responses": {**_object("Every shard has a primary.", {"status": "ready"}), **_BUSY},
}
