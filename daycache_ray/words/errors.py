"""One tree of errors: whose fault it is, and what the caller does next.

UsageError: the caller's mistake, never retried. RetryableError: our view was old or somebody was
busy; the client retries by itself. UnavailableError: retries are used up. A miss is never an error,
and a failure is never a miss.

Every class survives pickling through a Ray actor: fields are keyword arguments, and `__reduce__`
rebuilds from them.
"""

from __future__ import annotations

from typing import Any

from daycache_ray.words.types import Version


def _rebuild(cls: type[CacheError], message: str, fields: dict[str, Any]) -> CacheError:
    return cls(message, **fields)


class CacheError(Exception):
    """The root. `message` says what happened and what to do; further fields are attributes."""

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.fields)

    def __str__(self) -> str:
        # KeyError shows the repr of its message; every class of ours shows the sentence.
        return self.message


class UsageError(CacheError):
    """The caller's mistake: correct the call, a repetition cannot help."""


class InvalidKeyError(UsageError, ValueError):
    """The key is empty, too long or of a wrong type."""


class InvalidValueError(UsageError, TypeError):
    """No codec of the region takes this value."""


class UnknownTypeError(InvalidValueError):
    """The entry holds a value of a type that this process does not know: register the type, or install its library."""


class ValueTooLargeError(UsageError, ValueError):
    """The encoded value is larger than the limit or than the region."""


class InvalidTtlError(UsageError, ValueError):
    """A TTL that is NaN, negative, infinite, zero or beyond ten years."""


class InvalidArgumentError(UsageError, ValueError):
    """Another argument is outside its range; the message names it."""


class UnknownRegionError(UsageError, KeyError):
    """The cluster has no region of that name; the message lists those it has."""


class UnknownServiceError(UsageError, KeyError):
    """The cluster lists its services and this is none of them."""


class UnknownLevelError(UsageError, ValueError):
    """Not one of strong, eventual, weak."""


class ConfigError(UsageError, ValueError):
    """A configuration that cannot be; the message has the field's path and what to write instead."""


class NoLoaderError(UsageError, LookupError):
    """`get_or_load` without a loader on a region that has none."""


class NotANumberError(UsageError, TypeError):
    """`increment` of an entry that holds something else, or beyond 64 bits."""


class VersionConflictError(UsageError):
    """The entry's version is not the expected one; `current` is it, or None when there is no entry."""

    current: Version | None


class CacheClosedError(UsageError, RuntimeError):
    """This client was closed, or belongs to the parent of a forked process: connect again."""


class ClusterExistsError(UsageError, RuntimeError):
    """A cluster of that name runs already: connect to it, stop it, or choose another name."""


class ClusterNotFoundError(UsageError, LookupError):
    """No cluster of that name runs in this Ray cluster: start it first."""


class ProtocolError(UsageError):
    """Bytes on a socket that are no request; the connection is closed."""


class ProtocolVersionError(ProtocolError):
    """Client and cluster are of releases that do not understand each other."""


class AccessDeniedError(UsageError, PermissionError):
    """The hello on a socket did not carry this cluster's token."""


class RetryableError(CacheError):
    """Our view was old or they were busy; the client retries until its deadline."""


class NotPrimaryError(RetryableError):
    """That replica is not primary, or has no lease at the moment: fetch the cluster map."""


class StaleEpochError(RetryableError):
    """The message carries an older configuration than the receiver's."""


class NotEnoughReplicasError(RetryableError):
    """Fewer replicas in sync than `min_in_sync`: the write was refused, nothing happened."""


class BackpressureError(RetryableError):
    """Too much in flight; try again after `retry_after_s`."""

    retry_after_s: float


class RegionFullError(CacheError):
    """Nothing in the region may be evicted: delete, shorten TTLs or give it more memory."""


class UnavailableError(CacheError):
    """The cluster could not answer in time."""


class DeadlineExceededError(UnavailableError, TimeoutError):
    """The deadline passed; nothing was written."""


class UnknownOutcomeError(UnavailableError):
    """The connection broke or the deadline passed with a write in flight: it may have happened.

    Read the key, or repeat the write if it is idempotent.
    """


class ShardUnavailableError(UnavailableError):
    """No replica of the shard answers; the coordinator replaces them."""


class StaleError(UnavailableError):
    """Only copies older than `max_staleness_s` are in reach."""


class ServerError(UnavailableError):
    """A replica failed inside; its log has the trace. The actor lives on."""


class LoadError(CacheError):
    """The loader raised or hung; `__cause__` is its error where it ran in this process."""


class OriginDownError(LoadError):
    """The origin failed so often in a row that it is left alone: it is tried again within `retry_after_s`."""

    retry_after_s: float


class LoadCycleError(UsageError, RuntimeError):
    """A loader asked its region for the key that it is loading, directly or by way of others: it would wait for itself.

    Ask the origin there, or another key.
    """


class WriteError(CacheError):
    """The region's writer raised: the cache holds what it held. `__cause__` is its error, where it ran here."""


class PermanentWriteError(WriteError):
    """What a writer raises for what its origin will never take: the write becomes a dead letter at once."""


class CorruptRecordError(CacheError):
    """Bytes in a store or from a peer that cannot be ours."""


class StoreInUseError(CacheError):
    """Another process owns this store."""


class StoreFormatError(CacheError):
    """The store was written by another format version, or belongs to another cluster."""


class StoreFullError(CacheError):
    """The shared memory of the node is full (ENOSPC), whatever the region's budget says."""


def all_error_types() -> tuple[type[CacheError], ...]:
    """Every class of the tree, root first; the wire and the tests go through it."""
    found: list[type[CacheError]] = [CacheError]
    for cls in found:
        found.extend(sub for sub in cls.__subclasses__() if sub not in found)
    return tuple(found)
