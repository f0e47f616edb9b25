"""What a user may decide, checked when it is built: from Python, YAML, TOML or the environment.

An unknown key or an impossible combination is a ConfigError that names the field's path and says
what to write instead. Nothing is read from the environment when this module is imported, and no
value is looked up anywhere else: files and variables are read in `daycache_ray.words.config_sources`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from daycache_ray.words.config_loading import LoadingFields
from daycache_ray.words.config_sources import explain, merged_sources
from daycache_ray.words.errors import ConfigError
from daycache_ray.words.limits import (
    CLUSTER_NAME_BYTES_MAX,
    REGION_NAME_BYTES_MAX,
    REPLICAS_MAX,
    SERVICE_BYTES_MAX,
    SHARDS_MAX,
    TTL_S_MAX,
)
from daycache_ray.words.types import CacheConsistencyLevel, CacheRegion, Eviction

NAME_PATTERN = r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$"
LOADER_PATTERN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
MIB = 1024 * 1024


class _Strict(BaseModel):
    """Refuses unknown keys, is immutable, and turns what pydantic says into a ConfigError."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise ConfigError(explain(type(self), error)) from None


class TimingConfig(_Strict):
    """How long replicas trust one another; the coordinator refuses sets that break the safety rule.

    >>> TimingConfig(lease_s=1.0)
    Traceback (most recent call last):
    daycache_ray.words.errors.ConfigError: grace_s: must cover a lease on the slower clock; write 1.041 or more
    """

    beacon_s: float = Field(default=0.150, gt=0, le=10, description="Seconds between a primary's beacons.")
    lease_s: float = Field(
        default=0.600,
        gt=0,
        le=60,
        description="How long a primary may answer alone after a beacon that everybody acknowledged.",
    )
    grace_s: float = Field(
        default=0.640, gt=0, le=120, description="How long a secondary waits for its primary before it proposes itself."
    )
    silence_s: float = Field(
        default=1.0,
        gt=0,
        le=120,
        description="How long a primary waits for a silent member before it asks the coordinator to drop it.",
    )
    clock_drift_ratio: float = Field(
        default=0.02, ge=0, lt=0.5, description="Largest difference in the speed of two nodes' clocks."
    )

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.lease_s < 2 * self.beacon_s:
            raise ValueError(f"lease_s: must be at least two beacons; write {2 * self.beacon_s:g} or more")
        floor_s = self.lease_s * (1 + self.clock_drift_ratio) / (1 - self.clock_drift_ratio)
        if self.grace_s < floor_s:
            enough_s = math.ceil(floor_s * 1000) / 1000
            raise ValueError(f"grace_s: must cover a lease on the slower clock; write {enough_s:g} or more")
        return self


class RegionConfig(LoadingFields, _Strict):
    """One named key space and its policy."""

    name: str = Field(
        pattern=NAME_PATTERN,
        max_length=REGION_NAME_BYTES_MAX,
        description="Lower-case name, part of paths on the node.",
    )
    level: CacheConsistencyLevel = Field(
        default=CacheConsistencyLevel.EVENTUAL,
        description="Consistency of calls that do not name another level.",
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=SHARDS_MAX,
        description="Sets of slots with a log of their own; each is served by its own actors.",
    )
    replicas: int = Field(
        default=2, ge=1, le=REPLICAS_MAX, description="Copies of each shard, the primary included."
    )
    min_in_sync: int | None = Field(
        default=None,
        ge=1,
        le=REPLICAS_MAX,
        description="Copies a STRONG write needs; by default 2, or 1 with one replica.",
    )
    memory_bytes: int = Field(
        default=256 * MIB,
        ge=MIB,
        description="Budget of the whole region on one copy; each shard has its part.",
    )
    eviction: Eviction = Field(
        default="two_hands",
        description="Who goes when the budget is reached: 'two_hands' lets go early what is not used while young, "
        "'sieve' gives every entry a whole round. A STRONG region evicts nothing.",
    )
    ttl_s: float | None = Field(
        default=None,
        gt=0,
        le=TTL_S_MAX,
        allow_inf_nan=False,
        description="Age at which entries expire unless a call says otherwise; None keeps them.",
    )
    ttl_jitter_ratio: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="Part by which TTLs are shortened at random, so that entries written together do not "
        "expire together.",
    )
    negative_ttl_s: float | None = Field(
        default=None,
        gt=0,
        le=TTL_S_MAX,
        allow_inf_nan=False,
        description="How long it is remembered that the origin lacks a key; None: not at all.",
    )
    loader: Any = Field(
        default=None,
        description="What get_or_load calls: a callable, a Loader or BatchLoader, or 'package.module:name'.",
    )
    load_deadline_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="After this a load counts as failed and the next caller may try.",
    )
    allow_pickle: bool = Field(
        default=False,
        description="Whether values that no codec takes may be pickled; only for trusted writers.",
    )
    compression: Literal["none", "lz4", "zstd"] = Field(
        default="none",
        description="What makes values of 1 KiB and more smaller, where a tenth is saved: 'lz4' for speed, 'zstd' for "
        "size. Arrays and tables are then no longer read without a copy.",
    )
    shared_between_services: bool = Field(
        default=False, description="Whether all services see the same keys; by default each has its own."
    )
    prefetch: bool = Field(
        default=False,
        description="Whether predicted keys are loaded before they are asked for; needs a loader.",
    )
    prefetch_per_s_max: float = Field(
        default=500.0, gt=0, le=1e6, description="Most loads a second that prefetching may cost the origin."
    )
    prefetch_threshold_ratio: float = Field(
        default=0.2, gt=0, lt=1, description="Least probability with which a key is prefetched."
    )

    @field_validator("level", mode="before")
    @classmethod
    def _level(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) and not isinstance(value, CacheConsistencyLevel) else value

    @field_validator("loader")
    @classmethod
    def _loader(cls, value: Any) -> Any:
        if isinstance(value, str):
            if not LOADER_PATTERN.fullmatch(value):
                raise ValueError(f"{value!r} names no object; write 'package.module:name'")
        elif value is not None and not (
            callable(value) or hasattr(value, "load") or hasattr(value, "load_many")
        ):
            raise ValueError(
                f"{type(value).__name__!r} cannot load; give a callable, an object with load or load_many, "
                "or 'package.module:name'"
            )
        return value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_in_sync is not None and self.min_in_sync > self.replicas:
            raise ValueError(f"min_in_sync: cannot exceed replicas; write {self.replicas} or less, or more replicas")
        if self.prefetch and self.loader is None:
            raise ValueError("prefetch: needs a loader; name one, or write prefetch=False")
        if self.memory_bytes // self.shards < MIB:
            raise ValueError(f"memory_bytes: each shard needs 1 MiB; write {self.shards * MIB} or more")
        return self

    @property
    def strong_copies(self) -> int:
        """Copies that a STRONG write needs before it is acknowledged."""
        return self.min_in_sync if self.min_in_sync is not None else min(2, self.replicas)


class ServiceConfig(_Strict):
    """One service that may ask. A cluster that lists services refuses all others."""

    name: str = Field(
        pattern=NAME_PATTERN, max_length=SERVICE_BYTES_MAX, description="The name that clients give to connect()."
    )


class PredictionConfig(_Strict):
    """Whether and how accesses are learned from."""

    enabled: bool = Field(
        default=True, description="Whether clients report accesses and a prefetcher learns from them."
    )
    network: bool = Field(
        default=False,
        description="Whether a recurrent network behind Ray Serve ranks the candidates too; starts Serve and a "
        "trainer.",
    )
    holdout_ratio: float = Field(
        default=0.01,
        ge=0,
        le=0.5,
        description="Part of the keys that is never prefetched, so that the gain can be measured.",
    )
    network_deadline_s: float = Field(
        default=0.25,
        gt=0,
        le=10,
        description="An answer of the network that takes longer is not used; a few in a row switch it off for a "
        "while.",
    )
    chain_steps: int = Field(default=8, ge=1, le=16, description="How many steps ahead a sure chain is followed.")


def built_in_regions() -> tuple[RegionConfig, ...]:
    """Return the three regions of a cluster that names none."""
    return (
        RegionConfig(name=CacheRegion.MARKET_DATA.value, level=CacheConsistencyLevel.EVENTUAL),
        RegionConfig(name=CacheRegion.TRADING_POSITIONS.value, level=CacheConsistencyLevel.STRONG),
        RegionConfig(name=CacheRegion.ANALYSIS_RESULTS.value, level=CacheConsistencyLevel.EVENTUAL),
    )


class ClusterConfig(_Strict):
    """A cluster: its name, its regions, and what holds for all of them.

    >>> ClusterConfig(name="shop", regions=[{"name": "orders", "shard": 4}])
    Traceback (most recent call last):
    daycache_ray.words.errors.ConfigError: regions[0].shard: there is no such field; did you mean 'shards'?
    """

    name: str = Field(
        default="daycache",
        pattern=NAME_PATTERN,
        max_length=CLUSTER_NAME_BYTES_MAX,
        description="Unique in one Ray cluster; clients connect by it.",
    )
    regions: tuple[RegionConfig, ...] = Field(
        default_factory=built_in_regions, description="The key spaces; by default the three built-in ones."
    )
    services: tuple[ServiceConfig, ...] = Field(default=(), description="Who may ask; empty: any name.")
    timing: TimingConfig = Field(default=TimingConfig(), description="Leases and beacons.")
    prediction: PredictionConfig = Field(default=PredictionConfig(), description="Learning from accesses.")
    memory_path: str = Field(
        default="/dev/shm", description="A tmpfs on every node; the stores live below it."
    )
    spare_actors: int = Field(
        default=1,
        ge=0,
        le=16,
        description="Replica actors kept ready per cluster, so that a dead one is replaced in milliseconds.",
    )

    @field_validator("regions", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and not value:
            raise ValueError("is empty; name a region, or leave the field out for the three built-in ones")
        return value

    @model_validator(mode="after")
    def _names(self) -> Self:
        for kind, names in (("regions", [r.name for r in self.regions]), ("services", [s.name for s in self.services])):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise ValueError(f"{kind}: {', '.join(doubled)} stands there twice; give each a name of its own")
        return self

    def region(self, name: str) -> RegionConfig:
        """Return the region's configuration; KeyError when there is none."""
        return {region.name: region for region in self.regions}[name]

    @classmethod
    def load(cls, path: str | Path | None = None, *, environment: Mapping[str, str] | None = None) -> ClusterConfig:
        """Return a configuration from a YAML or TOML file, with `DAYCACHE_*` variables over it.

        `DAYCACHE_NAME=shop`, `DAYCACHE_TIMING__LEASE_S=1.0`, `DAYCACHE_REGIONS='[{"name": "orders"}]'`:
        two underscores step into a part, lists and mappings are JSON. A variable that names no field is
        left alone: Kubernetes sets `DAYCACHE_PORT` for a service called daycache. `environment` replaces
        the process's own (for tests).

        >>> ClusterConfig.load(environment={"DAYCACHE_NAME": "shop"}).name
        'shop'

        Raises:
            ConfigError: the file is missing, unreadable or wrong; says where and what to write.
        """
        return cls(**merged_sources(cls, path, environment))
