"""Errors as RFC 9457 problem details: one stable type per class of words.errors, and a few of HTTP's own.

It refuses to know routes and values. `type` is a URN that never changes; `title` says the kind, `detail` the case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from daycache_ray.words import errors

TYPE_PREFIX: Final = "urn:daycache:problem:"
MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1

STATUS_OF: Final[dict[type[errors.CacheError], int]] = {
    errors.CacheError: 500,
    errors.UsageError: 400,
    errors.InvalidValueError: 422,
    errors.UnknownTypeError: 409,
    errors.ValueTooLargeError: 413,
    errors.InvalidTtlError: 422,
    errors.UnknownRegionError: 404,
    errors.UnknownServiceError: 403,
    errors.ConfigError: 500,
    errors.NoLoaderError: 409,
    errors.NotANumberError: 409,
    errors.VersionConflictError: 412,
    errors.CacheClosedError: 503,
    errors.ClusterExistsError: 409,
    errors.ClusterNotFoundError: 503,
    errors.ProtocolError: 502,
    errors.AccessDeniedError: 403,
    errors.RetryableError: 503,
    errors.RegionFullError: 507,
    errors.UnavailableError: 503,
    errors.DeadlineExceededError: 504,
    errors.UnknownOutcomeError: 504,
    errors.ServerError: 500,
    errors.LoadError: 502,
    errors.OriginDownError: 503,
    errors.LoadCycleError: 409,
    errors.WriteError: 502,
    errors.StoreFullError: 507,
}
"""By class; a class that is not listed has the status of its nearest parent that is."""

_OWN: Final = {
    "key-not-found": (404, "There is no entry with this key"),
    "not-found": (404, "There is no such resource"),
    "method-not-allowed": (405, "The resource does not have this method"),
    "not-acceptable": (406, "The value has no representation that the request accepts"),
    "pickled-value": (409, "The value is a pickle, which is never read over HTTP"),
    "malformed-body": (400, "The body is not what its media type says"),
    "unsupported-media-type": (415, "Values of this media type are not taken"),
    "precondition-failed": (412, "A condition of the request does not hold"),
    "internal": (500, "The server failed; its log has the trace"),
}
_SECRET_FIELDS: Final = frozenset({"token"})


class Problem(Exception):
    """A refusal that is HTTP's own; `slug` is a key of the table above, further fields are shown."""

    def __init__(self, slug: str, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.fields = fields


def slug_of(cls: type[BaseException]) -> str:
    """Return the last part of a class's problem type.

    >>> slug_of(errors.UnknownRegionError)
    'unknown-region'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__.removesuffix("Error")).lower()


def status_of(cls: type[errors.CacheError]) -> int:
    """Return the status of an error's class."""
    return next(STATUS_OF[parent] for parent in cls.__mro__ if parent in STATUS_OF)


def problem_fields(error: BaseException) -> dict[str, Any]:
    """Return the members of the problem that an error is, `status` among them."""
    if isinstance(error, Problem):
        status, title = _OWN[error.slug]
        return {
            "type": TYPE_PREFIX + error.slug,
            "title": title,
            "status": status,
            "detail": error.detail,
            **error.fields,
        }
    if not isinstance(error, errors.CacheError):
        return problem_fields(Problem("internal", f"{type(error).__name__}; the server's log has the trace"))
    cls = type(error)
    fields = {name: _plain(value) for name, value in error.fields.items() if name not in _SECRET_FIELDS}
    return {
        "type": TYPE_PREFIX + slug_of(cls),
        "title": (cls.__doc__ or cls.__name__).strip().splitlines()[0],
        "status": status_of(cls),
        "detail": error.message,
        **fields,
    }


def problem_response(error: BaseException, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as a response; 503 carries Retry-After."""
    fields = problem_fields(error)
    sent = {"cache-control": "no-store", **(headers or {})}
    if fields["status"] == 503:
        sent["retry-after"] = str(max(RETRY_AFTER_S, math.ceil(fields.get("retry_after_s") or 0)))
    return Response(msgspec.json.encode(fields), fields["status"], sent, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of an application a problem."""

    async def known(request: Request, error: Exception) -> Response:
        return problem_response(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem_response(errors.InvalidArgumentError(f"{place}: {first['msg']}"))

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            methods = _methods_of(request)
            detail = f"{request.url.path} takes {methods}, not {request.method}"
            return problem_response(Problem("method-not-allowed", detail), {"allow": methods})
        if error.status_code == 404:
            return problem_response(Problem("not-found", f"there is nothing at {request.url.path}; see /openapi.json"))
        return problem_response(errors.InvalidArgumentError(str(error.detail)))

    app.add_exception_handler(errors.CacheError, known)
    app.add_exception_handler(Problem, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(Exception, known)


def _methods_of(request: Request) -> str:
    """Return all methods of a path; the framework names those of its first route only."""
    matching = [route for route in request.app.router.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in matching for method in getattr(route, "methods", None) or ()}))


def _plain(value: Any) -> Any:
    """Return a field as JSON holds it; a Version as its tag."""
    if isinstance(value, tuple) and hasattr(value, "epoch"):
        return f"{value[0]}-{value[1]}"
    return value if isinstance(value, str | int | float | bool | None) else str(value)
