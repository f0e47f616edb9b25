"""What a user may decide of one region, checked when it is built; see `config.py` for the cluster around it.

Refuses to know where the values come from.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from daycache_ray.words.config_loading import LoadingFields
from daycache_ray.words.config_strict import NAME_PATTERN, Strict
from daycache_ray.words.config_writing import PLACE_PATTERN, WritingFields
from daycache_ray.words.limits import REGION_NAME_BYTES_MAX, REPLICAS_MAX, SHARDS_MAX, TTL_S_MAX
from daycache_ray.words.types import CacheConsistencyLevel, CacheRegion, Eviction

MIB = 1024 * 1024


class RegionConfig(WritingFields, LoadingFields, Strict):
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
            if not PLACE_PATTERN.fullmatch(value):
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


def built_in_regions() -> tuple[RegionConfig, ...]:
    """Return the three regions of a cluster that names none."""
    return (
        RegionConfig(name=CacheRegion.MARKET_DATA.value, level=CacheConsistencyLevel.EVENTUAL),
        RegionConfig(name=CacheRegion.TRADING_POSITIONS.value, level=CacheConsistencyLevel.STRONG),
        RegionConfig(name=CacheRegion.ANALYSIS_RESULTS.value, level=CacheConsistencyLevel.EVENTUAL),
    )
