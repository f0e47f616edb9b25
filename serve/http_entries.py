"""The routes of entries: read, write, remove, and read many. Each is one call of the client."""

from __future__ import annotations

import base64
import math
from email.utils import formatdate
from typing import Any, Final

import msgspec
from fastapi import Depends, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from daycache_ray.client.arguments import key_bytes
from daycache_ray.serve import http_documents as documents
from daycache_ray.serve.http_conditions import etag, is_not_modified, parse_tags, require_match, version_text
from daycache_ray.serve.http_problems import Problem, problem_fields
from daycache_ray.serve.http_requests import (
    CacheOfService,
    Call,
    IfMatch,
    IfNoneMatch,
    KeyPath,
    OnlyNew,
    RegionName,
    Ttl,
    TtlHeader,
    body_of,
    call_of,
    key_of,
    ttl_of,
)
from daycache_ray.serve.http_values import JSON, NotAsJsonError, Representation, as_json, represent, value_of
from daycache_ray.words.errors import (
    BackpressureError,
    CacheError,
    CorruptRecordError,
    InvalidArgumentError,
    InvalidValueError,
    UnknownTypeError,
    VersionConflictError,
)
from daycache_ray.words.limits import BATCH_OPERATIONS_MAX
from daycache_ray.words.types import Entry, Version

_PATH: Final = "/v1/regions/{region}/entries/{key:path}"
_CALL: Final = Depends(call_of)
ATTEMPTS_MAX: Final = 8
"""How often `If-Match: *` follows a version that changes under it."""


class BatchGet(BaseModel):
    """The body of entries:batchGet."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"keys": ["AAPL", "MSFT", "no such key"]}]}
    )

    keys: list[str] = Field(max_length=BATCH_OPERATIONS_MAX, description="Keys as text.")


def add_entry_routes(api: FastAPI, cache_of: CacheOfService) -> None:
    """Add the routes of entries on top of `cache_of`."""
    _add_reads(api, cache_of)
    _add_writes(api, cache_of)


def _add_reads(api: FastAPI, cache_of: CacheOfService) -> None:
    @api.get(_PATH, summary="Read an entry", **documents.GET)
    async def get_entry(
        region: RegionName,
        key: KeyPath,
        request: Request,
        call: Call = _CALL,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        found = (await cache_of(call.service)).region(region)
        return await _read(found, key_of(request, key), call, request.headers.get("accept"), if_match, if_none_match)

    @api.head(_PATH, summary="Read an entry without its body", **documents.HEAD)
    async def head_entry(
        region: RegionName,
        key: KeyPath,
        request: Request,
        call: Call = _CALL,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        found = (await cache_of(call.service)).region(region)
        answer = await _read(found, key_of(request, key), call, request.headers.get("accept"), if_match, if_none_match)
        return Response(None, answer.status_code, dict(answer.headers))

    @api.post("/v1/regions/{region}/entries:batchGet", summary="Read many entries", **documents.BATCH_GET)
    async def batch_get(region: RegionName, batch: BatchGet, call: Call = _CALL) -> Response:
        found = (await cache_of(call.service)).region(region)
        keys = list(dict.fromkeys(batch.keys))
        return Response(msgspec.json.encode({"entries": await _read_many(found, keys, call)}), media_type=JSON)


def _add_writes(api: FastAPI, cache_of: CacheOfService) -> None:
    @api.put(_PATH, summary="Write an entry", status_code=204, **documents.PUT)
    async def put_entry(
        region: RegionName,
        key: KeyPath,
        request: Request,
        call: Call = _CALL,
        ttl_s: Ttl = None,
        ttl_header: TtlHeader = None,
        if_match: IfMatch = None,
        if_none_match: OnlyNew = None,
    ) -> Response:
        found = (await cache_of(call.service)).region(region)
        raw = key_bytes(key_of(request, key))
        options = {**call.options, "ttl_s": ttl_of(ttl_s, ttl_header)}
        value = value_of(await body_of(request), request.headers.get("content-type"))
        if if_match is not None and if_none_match is not None:
            raise InvalidArgumentError("If-Match and If-None-Match cannot both hold; send one of them")
        if if_none_match is not None:
            if not parse_tags(if_none_match, "If-None-Match").is_any:
                raise InvalidArgumentError("a PUT takes If-None-Match: * alone; name versions with If-Match")
            return _written(201, await found.compare_and_set(raw, value, None, **options))
        if if_match is not None:
            return _written(204, await _write_where(found, raw, value, if_match, options))
        return _written(204, await found.set(raw, value, **options))

    @api.delete(_PATH, summary="Remove an entry", status_code=204, **documents.DELETE)
    async def delete_entry(region: RegionName, key: KeyPath, request: Request, call: Call = _CALL) -> Response:
        found = (await cache_of(call.service)).region(region)
        if "if-match" in request.headers or "if-none-match" in request.headers:
            raise InvalidArgumentError("DELETE takes no condition: leave If-Match and If-None-Match out")
        raw = key_of(request, key)
        if not await found.delete(raw, **call.options):
            raise _not_found(found, raw)
        return Response(None, 204)


async def _read(
    region: Any, key: str | bytes, call: Call, accept: str | None, if_match: str | None, if_none_match: str | None
) -> Response:
    entry = await _entry_of(region, key, call)
    if entry is None:
        raise _not_found(region, key)
    require_match(if_match, entry.version)
    representation = represent(entry.value, accept)
    headers = _headers_of(entry, representation)
    if is_not_modified(if_none_match, entry.version, representation.variant):
        return Response(None, 304, headers)
    return Response(representation.body, 200, headers, representation.media_type)


async def _entry_of(region: Any, key: str | bytes, call: Call) -> Entry | None:
    try:
        entry: Entry | None = await region.get_entry(key, **call.options)
    except UnknownTypeError:
        raise
    except InvalidValueError as error:
        # Reading refuses one thing only: to unpickle.
        raise Problem("pickled-value", error.message) from error
    return entry


def _headers_of(entry: Entry, representation: Representation) -> dict[str, str]:
    headers = {
        "etag": etag(entry.version, representation.variant),
        "vary": "Accept",
        # Whoever keeps a copy must ask again: the entry may change at any moment, and the tag makes asking cheap.
        "cache-control": "private, no-cache",
        "x-daycache-version": version_text(entry.version),
        "x-daycache-served-by": entry.served_by,
        "x-daycache-level": entry.level.value,
    }
    if entry.staleness_bound_s is not None:
        headers["age"] = str(math.ceil(entry.staleness_bound_s))
        headers["x-daycache-staleness-bound"] = f"{entry.staleness_bound_s:.6f}"
    if entry.expires_at_s is not None:
        headers["expires"] = formatdate(math.floor(entry.expires_at_s), usegmt=True)
        headers["x-daycache-expires-at"] = f"{entry.expires_at_s:.6f}"
    return headers


def _written(status: int, version: Version) -> Response:
    if not version.epoch:
        # WEAK: on its way, and has no version yet.
        return Response(None, 202)
    return Response(None, status, {"etag": etag(version), "x-daycache-version": version_text(version)})


async def _write_where(region: Any, key: bytes, value: Any, if_match: str, options: dict[str, Any]) -> Version:
    """Write where the entry's version is one that If-Match names; `*` names whatever there is."""
    tags = parse_tags(if_match, "If-Match")
    expected: Version | None = next(iter(tags.strong), None)
    if tags.is_any or len(tags.strong) > 1:
        entry = await region.get_entry(key, level=options["level"], deadline_s=options["deadline_s"])
        expected = None if entry is None else entry.version
    for _ in range(ATTEMPTS_MAX):
        if expected is None or not (tags.is_any or expected in tags.strong):
            shown = {} if expected is None else {"current": version_text(expected)}
            detail = "there is no entry" if expected is None else f"the entry's version is {shown['current']}"
            raise Problem("precondition-failed", f"If-Match {if_match} does not hold: {detail}", **shown)
        try:
            version: Version = await region.compare_and_set(key, value, expected, **options)
            return version
        except VersionConflictError as conflict:
            if not tags.is_any and len(tags.strong) == 1:
                raise
            expected = conflict.current
    raise BackpressureError("the entry changes faster than this write can follow; try again", retry_after_s=1.0)


async def _read_many(region: Any, keys: list[str], call: Call) -> list[dict[str, Any]]:
    try:
        values = await region.get_many(keys, **call.options)
    except (InvalidValueError, CorruptRecordError):
        # One of them cannot be read; the others can. Rare, so they may be asked for one by one.
        return [await _read_one(region, key, call) for key in keys]
    return [_item(key, values[key]) if key in values else {"key": key, "found": False} for key in keys]


async def _read_one(region: Any, key: str, call: Call) -> dict[str, Any]:
    try:
        entry = await _entry_of(region, key, call)
    except (Problem, CacheError) as error:
        return {"key": key, "found": True, "problem": problem_fields(error)}
    return {"key": key, "found": False} if entry is None else _item(key, entry.value)


def _item(key: str, value: Any) -> dict[str, Any]:
    """Return an item of a batch's answer: the value as JSON, else its usual representation in base64."""
    try:
        plain = as_json(value)
        # Big integers and lone surrogates are JSON to Python only.
        return {"key": key, "found": True, "value": msgspec.Raw(msgspec.json.encode(plain))}
    except (NotAsJsonError, ValueError, OverflowError):
        pass
    try:
        media_type, _, body = represent(value, None)
    except Problem as problem:
        return {"key": key, "found": True, "problem": problem_fields(problem)}
    encoded = base64.b64encode(body).decode()
    return {"key": key, "found": True, "media_type": media_type, "base64": encoded}


def _not_found(region: Any, key: str | bytes) -> Problem:
    shown = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key
    return Problem("key-not-found", f"region '{region.name}' has no entry '{shown[:200]}'")
