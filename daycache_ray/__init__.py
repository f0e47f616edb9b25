"""DayCache: a distributed cache for Python services on Ray.

The shop window: every public name, in the order in which a newcomer meets them. A name is imported on
its first use, so that `import daycache_ray` costs nothing: neither Ray nor PyTorch is loaded by it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daycache_ray.actors.launch import astart, start, stop
    from daycache_ray.client.async_cache import AsyncCache, AsyncRegion, aconnect
    from daycache_ray.client.cache import Cache, Region, connect
    from daycache_ray.client.optimizer import AdaptiveCacheOptimizer
    from daycache_ray.client.orchestrator import CacheOrchestrator
    from daycache_ray.client.removals import RemovalSubscription
    from daycache_ray.codecs.registry import register_type
    from daycache_ray.origins.files import FileLoader
    from daycache_ray.origins.http import HttpLoader
    from daycache_ray.origins.parquet import ParquetLoader
    from daycache_ray.origins.ray_tasks import RayTaskLoader
    from daycache_ray.origins.redis import RedisLoader
    from daycache_ray.origins.sql import SqlLoader
    from daycache_ray.origins.sql_writer import SqlWriter
    from daycache_ray.words.config import ClusterConfig, PredictionConfig, RegionConfig, ServiceConfig, TimingConfig
    from daycache_ray.words.errors import (
        AccessDeniedError,
        BackpressureError,
        CacheClosedError,
        CacheError,
        ClusterExistsError,
        ClusterNotFoundError,
        ConfigError,
        CorruptRecordError,
        DeadlineExceededError,
        InvalidArgumentError,
        InvalidKeyError,
        InvalidTtlError,
        InvalidValueError,
        LoadCycleError,
        LoadError,
        NoLoaderError,
        NotANumberError,
        NotEnoughReplicasError,
        NotPrimaryError,
        OriginDownError,
        PermanentWriteError,
        ProtocolError,
        ProtocolVersionError,
        RegionFullError,
        RetryableError,
        ServerError,
        ShardUnavailableError,
        StaleEpochError,
        StaleError,
        StoreFormatError,
        StoreFullError,
        StoreInUseError,
        UnavailableError,
        UnknownLevelError,
        UnknownOutcomeError,
        UnknownRegionError,
        UnknownServiceError,
        UnknownTypeError,
        UsageError,
        ValueTooLargeError,
        VersionConflictError,
        WriteError,
    )
    from daycache_ray.words.ports import MISSING, BatchLoader, BatchWriter, Loader, Writer
    from daycache_ray.words.removals import Removal, RemovalCause
    from daycache_ray.words.types import (
        AccessPattern,
        CacheConsistencyLevel,
        CacheOptimizationContext,
        CacheRegion,
        DeadLetter,
        Entry,
        RegionStatistics,
        ShardStatistics,
        Version,
    )

__version__ = "0.1.0"

__all__ = [
    "start",
    "stop",
    "astart",
    "connect",
    "Cache",
    "Region",
    "aconnect",
    "AsyncCache",
    "AsyncRegion",
    "ClusterConfig",
    "RegionConfig",
    "ServiceConfig",
    "TimingConfig",
    "PredictionConfig",
    "CacheRegion",
    "CacheConsistencyLevel",
    "Entry",
    "DeadLetter",
    "Version",
    "RegionStatistics",
    "ShardStatistics",
    "Removal",
    "RemovalCause",
    "RemovalSubscription",
    "register_type",
    "Loader",
    "BatchLoader",
    "MISSING",
    "Writer",
    "BatchWriter",
    "SqlLoader",
    "SqlWriter",
    "HttpLoader",
    "RedisLoader",
    "FileLoader",
    "ParquetLoader",
    "RayTaskLoader",
    "CacheOrchestrator",
    "AdaptiveCacheOptimizer",
    "CacheOptimizationContext",
    "AccessPattern",
    "CacheError",
    "UsageError",
    "InvalidKeyError",
    "InvalidValueError",
    "UnknownTypeError",
    "ValueTooLargeError",
    "InvalidTtlError",
    "InvalidArgumentError",
    "UnknownRegionError",
    "UnknownServiceError",
    "UnknownLevelError",
    "ConfigError",
    "NoLoaderError",
    "NotANumberError",
    "VersionConflictError",
    "CacheClosedError",
    "ClusterExistsError",
    "ClusterNotFoundError",
    "ProtocolError",
    "ProtocolVersionError",
    "AccessDeniedError",
    "RetryableError",
    "NotPrimaryError",
    "StaleEpochError",
    "NotEnoughReplicasError",
    "BackpressureError",
    "RegionFullError",
    "UnavailableError",
    "DeadlineExceededError",
    "UnknownOutcomeError",
    "ShardUnavailableError",
    "StaleError",
    "ServerError",
    "LoadError",
    "OriginDownError",
    "LoadCycleError",
    "WriteError",
    "PermanentWriteError",
    "CorruptRecordError",
    "StoreInUseError",
    "StoreFormatError",
    "StoreFullError",
]

_HOMES = {
    "daycache_ray.actors.launch": "start stop astart",
    "daycache_ray.client.cache": "connect Cache Region",
    "daycache_ray.client.async_cache": "aconnect AsyncCache AsyncRegion",
    "daycache_ray.words.config": "ClusterConfig RegionConfig ServiceConfig TimingConfig PredictionConfig",
    "daycache_ray.words.types": (
        "CacheRegion CacheConsistencyLevel Entry DeadLetter Version RegionStatistics ShardStatistics "
        "CacheOptimizationContext AccessPattern"
    ),
    "daycache_ray.client.removals": "RemovalSubscription",
    "daycache_ray.words.removals": "Removal RemovalCause",
    "daycache_ray.codecs.registry": "register_type",
    "daycache_ray.words.ports": "Loader BatchLoader Writer BatchWriter MISSING",
    "daycache_ray.origins.sql": "SqlLoader",
    "daycache_ray.origins.sql_writer": "SqlWriter",
    "daycache_ray.origins.http": "HttpLoader",
    "daycache_ray.origins.redis": "RedisLoader",
    "daycache_ray.origins.files": "FileLoader",
    "daycache_ray.origins.parquet": "ParquetLoader",
    "daycache_ray.origins.ray_tasks": "RayTaskLoader",
    "daycache_ray.client.orchestrator": "CacheOrchestrator",
    "daycache_ray.client.optimizer": "AdaptiveCacheOptimizer",
    "daycache_ray.words.errors": (
        "CacheError UsageError InvalidKeyError InvalidValueError UnknownTypeError ValueTooLargeError InvalidTtlError "
        "InvalidArgumentError UnknownRegionError UnknownServiceError UnknownLevelError ConfigError NoLoaderError "
        "NotANumberError VersionConflictError CacheClosedError ClusterExistsError ClusterNotFoundError "
        "ProtocolError ProtocolVersionError AccessDeniedError RetryableError NotPrimaryError StaleEpochError "
        "NotEnoughReplicasError BackpressureError RegionFullError UnavailableError DeadlineExceededError "
        "UnknownOutcomeError ShardUnavailableError StaleError ServerError LoadError WriteError PermanentWriteError "
        "CorruptRecordError StoreInUseError StoreFormatError StoreFullError OriginDownError LoadCycleError"
    ),
}
"""Module by module, what it has for the window."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name where it lives; the next use finds it here."""
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'daycache_ray' has no attribute '{name}'")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
