"""What a user may decide, checked when it is built: from Python, YAML, TOML or the environment.

An unknown key or an impossible combination is a ConfigError that names the field's path and says
what to write instead. Nothing is read from the environment when this module is imported.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import Self

from daycache_ray.words.errors import ConfigError
from daycache_ray.words.limits import (
    CLUSTER_NAME_BYTES_MAX,
    REGION_NAME_BYTES_MAX,
    REPLICAS_MAX,
    SERVICE_BYTES_MAX,
    SHARDS_MAX,
    TTL_S_MAX,
)
from daycache_ray.words.types import CacheConsistencyLevel, CacheRegion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME_PATTERN = r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$"
MIB = 1024 * 1024


class _Strict(BaseModel):
    """Refuses unknown keys, is immutable, and turns pydantic's errors into ConfigError."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise ConfigError(_explain(type(self), error)) from None


class TimingConfig(_Strict):
    """How long replicas trust one another; the coordinator refuses sets that break the safety rule."""

    beacon_s: float = Field(0.150, gt=0, le=10, description="Seconds between a primary's beacons.")
    lease_s: float = Field(0.600, gt=0, le=60, description="How long a primary may answer alone after a beacon that everybody acknowledged.")
    grace_s: float = Field(0.640, gt=0, le=120, description="How long a secondary waits for its primary before it proposes itself.")
    silence_s: float = Field(1.0, gt=0, le=120, description="How long a primary waits for a silent member before it asks the coordinator to drop it.")
    clock_drift_ratio: float = Field(0.02, ge=0, lt=0.5, description="Largest difference in the speed of two nodes' clocks.")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.lease_s < 2 * self.beacon_s:
            raise ValueError(f"lease_s must be at least two beacons; write {2 * self.beacon_s:g} or more")
        floor_s = self.lease_s * (1 + self.clock_drift_ratio) / (1 - self.clock_drift_ratio)
        if self.grace_s < floor_s:
            raise ValueError(f"grace_s must cover a lease on the slower clock; write {math.ceil(floor_s * 1000) / 1000:g} or more")
        return self


class RegionConfig(_Strict):
    """One named key space and its policy."""

    name: str = Field(pattern=NAME_PATTERN, max_length=REGION_NAME_BYTES_MAX, description="Lower-case name, part of paths on the node.")
    level: CacheConsistencyLevel = Field(CacheConsistencyLevel.EVENTUAL, description="Consistency of calls that do not name another level.")
    shards: int = Field(1, ge=1, le=SHARDS_MAX, description="Sets of slots with a log of their own; each is served by its own actors.")
    replicas: int = Field(2, ge=1, le=REPLICAS_MAX, description="Copies of each shard, the primary included.")
    min_in_sync: int | None = Field(None, ge=1, le=REPLICAS_MAX, description="Copies a STRONG write needs; by default 2, or 1 with one replica.")
    memory_bytes: int = Field(256 * MIB, ge=MIB, description="Budget of the whole region on one copy; each shard has its part.")
    ttl_s: float | None = Field(None, gt=0, le=TTL_S_MAX, allow_inf_nan=False, description="Age at which entries expire unless a call says otherwise; None keeps them.")
    ttl_jitter_ratio: float = Field(0.0, ge=0, le=0.5, allow_inf_nan=False, description="Part by which TTLs are shortened at random, so that entries written together do not expire together.")
    negative_ttl_s: float | None = Field(None, gt=0, le=TTL_S_MAX, allow_inf_nan=False, description="How long it is remembered that the origin lacks a key; None: not at all.")
    loader: Any = Field(None, description="What get_or_load calls: a callable, a Loader or BatchLoader, or 'package.module:name'.")
    load_deadline_s: float = Field(30.0, gt=0, le=3600, description="After this a load counts as failed and the next caller may try.")
    allow_pickle: bool = Field(False, description="Whether values that no codec takes may be pickled; only for trusted writers.")
    shared_between_services: bool = Field(False, description="Whether all services see the same keys; by default each has its own.")
    prefetch: bool = Field(False, description="Whether predicted keys are loaded before they are asked for; needs a loader.")
    prefetch_per_s_max: float = Field(500.0, gt=0, le=1e6, description="Most loads a second that prefetching may cost the origin.")
    prefetch_threshold_ratio: float = Field(0.2, gt=0, lt=1, description="Least probability with which a key is prefetched.")

    @field_validator("level", mode="before")
    @classmethod
    def _level(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) and not isinstance(value, CacheConsistencyLevel) else value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_in_sync is not None and self.min_in_sync > self.replicas:
            raise ValueError(f"min_in_sync cannot exceed replicas; write {self.replicas} or less, or more replicas")
        if self.prefetch and self.loader is None:
            raise ValueError("prefetch needs a loader; name one, or write prefetch=False")
        if self.memory_bytes // self.shards < MIB:
            raise ValueError(f"each shard needs at least 1 MiB; write memory_bytes={self.shards * MIB} or more")
        return self

    @property
    def strong_copies(self) -> int:
        """Copies that a STRONG write needs before it is acknowledged."""
        return self.min_in_sync if self.min_in_sync is not None else min(2, self.replicas)


class ServiceConfig(_Strict):
    """One service that may ask. A cluster that lists services refuses all others."""

    name: str = Field(pattern=NAME_PATTERN, max_length=SERVICE_BYTES_MAX, description="The name that clients give to connect().")


class PredictionConfig(_Strict):
    """Whether and how accesses are learned from."""

    enabled: bool = Field(True, description="Whether clients report accesses and a prefetcher learns from them.")
    network: bool = Field(False, description="Whether a recurrent network behind Ray Serve ranks the candidates too; starts Serve and a trainer.")
    holdout_ratio: float = Field(0.01, ge=0, le=0.5, description="Part of the keys that is never prefetched, so that the gain can be measured.")
    network_deadline_s: float = Field(0.25, gt=0, le=10, description="An answer of the network that takes longer is not used; a few in a row switch it off for a while.")
    chain_steps: int = Field(8, ge=1, le=16, description="How many steps ahead a sure chain is followed.")


def built_in_regions() -> tuple[RegionConfig, ...]:
    """Return the three regions of a cluster that names none."""
    return (
        RegionConfig(name=CacheRegion.MARKET_DATA.value, level=CacheConsistencyLevel.EVENTUAL),
        RegionConfig(name=CacheRegion.TRADING_POSITIONS.value, level=CacheConsistencyLevel.STRONG),
        RegionConfig(name=CacheRegion.ANALYSIS_RESULTS.value, level=CacheConsistencyLevel.EVENTUAL),
    )


class ClusterConfig(_Strict):
    """A cluster: its name, its regions, and what holds for all of them."""

    name: str = Field("daycache", pattern=NAME_PATTERN, max_length=CLUSTER_NAME_BYTES_MAX, description="Unique in one Ray cluster; clients connect by it.")
    regions: tuple[RegionConfig, ...] = Field(default_factory=built_in_regions, min_length=1, description="The key spaces; by default the three built-in ones.")
    services: tuple[ServiceConfig, ...] = Field((), description="Who may ask; empty: any name.")
    timing: TimingConfig = Field(default_factory=TimingConfig, description="Leases and beacons.")
    prediction: PredictionConfig = Field(default_factory=PredictionConfig, description="Learning from accesses.")
    memory_path: str = Field("/dev/shm", description="A tmpfs on every node; the stores live below it.")
    spare_actors: int = Field(1, ge=0, le=16, description="Replica actors kept ready per cluster, so that a dead one is replaced in milliseconds.")

    @field_validator("regions", "services", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

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
        two underscores step into a part, lists and mappings are JSON. `environment` replaces the
        process's own (for tests).

        Raises:
            ConfigError: the file is missing, unreadable or wrong; says where and what to write.
        """
        data = {} if path is None else _read(Path(path))
        merged = _merge(data, _from_environment(environment))
        return cls(**merged)


class _Environment(BaseSettings):
    """The same fields, all optional, read by pydantic-settings from DAYCACHE_*."""

    model_config = SettingsConfigDict(env_prefix="DAYCACHE_", env_nested_delimiter="__", extra="ignore")

    name: str | None = None
    regions: list[dict[str, Any]] | None = None
    services: list[dict[str, Any]] | None = None
    timing: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    memory_path: str | None = None
    spare_actors: int | None = None


def _from_environment(environment: Mapping[str, str] | None) -> dict[str, Any]:
    from pydantic_settings import EnvSettingsSource

    source = EnvSettingsSource(_Environment, env_prefix="DAYCACHE_", env_nested_delimiter="__")
    if environment is not None:
        source.env_vars = {name.lower(): value for name, value in environment.items()}
    try:
        return {name: value for name, value in source().items() if value is not None}
    except Exception as error:
        raise ConfigError(f"a DAYCACHE_* variable is not what it should be: {error}; lists and mappings are JSON") from None


def _read(path: Path) -> dict[str, Any]:
    if path.suffix not in {".yaml", ".yml", ".toml"}:
        raise ConfigError(f"{path}: a configuration is a .yaml, .yml or .toml file")
    try:
        text = path.read_text("utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: the file must hold a mapping such as 'name: shop', not a {type(data).__name__}")
    return data


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        inner = merged.get(name)
        merged[name] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"]) or model.__name__
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = f"there is no such field; {_suggest(model, problem['loc'])}"
        elif problem["type"] == "missing":
            text = "is required; write a value for it"
        elif problem["type"] == "string_pattern_mismatch":
            text = "write lower-case letters, digits, '_', '.' or '-', beginning and ending with a letter or digit"
        else:
            text = f"{text} (got {problem['input']!r})" if problem["type"] != "value_error" else text
        lines.append(f"{path}: {text}")
    return "\n".join(lines)


def _suggest(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    owner: Any = model
    for part in location[:-1]:
        if isinstance(part, str) and part in owner.model_fields:
            owner = _PARTS.get(part, owner)
    known = list(owner.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}"


_PARTS: dict[str, type[BaseModel]] = {
    "regions": RegionConfig,
    "services": ServiceConfig,
    "timing": TimingConfig,
    "prediction": PredictionConfig,
}
