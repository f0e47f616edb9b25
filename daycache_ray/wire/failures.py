"""Errors of words.errors as answers, and back: by class name, never by pickle."""

from __future__ import annotations

from typing import Final

from daycache_ray.words.errors import CacheError, ServerError, all_error_types
from daycache_ray.words.operations import Failure

_TYPES: Final = {cls.__name__: cls for cls in all_error_types()}


def failure_of(request_id: int, error: Exception) -> Failure:
    """Return the answer that carries `error`; one that is not ours becomes a ServerError."""
    if not isinstance(error, CacheError):
        error = ServerError(f"the replica failed inside with {type(error).__name__}: {error}; its log has the trace")
    plain = (int, float, str, bool, type(None))
    fields = {name: value for name, value in error.fields.items() if isinstance(value, plain)}
    return Failure(request_id, type(error).__name__, error.message, fields)


def error_of(failure: Failure) -> CacheError:
    """Return the error in an answer; a name that this release does not know becomes a ServerError."""
    cls = _TYPES.get(failure.error)
    if cls is None:
        return ServerError(f"{failure.error}: {failure.message}")
    return cls(failure.message, **failure.fields)
