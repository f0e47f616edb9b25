"""What a user may decide, checked when it is built: from Python, YAML, TOML or the environment.

An unknown key or an impossible combination is a ConfigError that names the field's path and says
what to write instead. Nothing is read from the environment when this module is imported, and no
value is looked up anywhere else: files and variables are read in `daycache_ray.words.config_sources`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from daycache_ray.words.config_region import RegionConfig, built_in_regions
from daycache_ray.words.config_sources import merged_sources
from daycache_ray.words.config_strict import NAME_PATTERN, Strict
from daycache_ray.words.limits import CLUSTER_NAME_BYTES_MAX, SERVICE_BYTES_MAX

__all__ = ["ClusterConfig", "PredictionConfig", "RegionConfig", "ServiceConfig", "TimingConfig", "built_in_regions"]


GUARANTEED_RATIO_MAX = 0.9
"""Part of a region that services may be guaranteed together."""

GUARANTEES_MAX = 60
"""Services with a guarantee: a store has 127 accounts, and remembers those of former configurations."""


class TimingConfig(Strict):
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


class ServiceConfig(Strict):
    """One service that may ask. A cluster that lists services refuses all others."""

    name: str = Field(
        pattern=NAME_PATTERN, max_length=SERVICE_BYTES_MAX, description="The name that clients give to connect()."
    )
    memory_bytes: int | dict[str, int] = Field(
        default=0,
        description="What the service is guaranteed: entries of its own up to so many bytes are never evicted for "
        "another service. By region name; one number is spread over the regions that are not shared between services, "
        "in proportion to their memory_bytes. It may use more while there is room.",
    )


class PredictionConfig(Strict):
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


class ClusterConfig(Strict):
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

    @model_validator(mode="after")
    def _guaranteed(self) -> Self:
        known = {region.name: region for region in self.regions}
        promised = dict.fromkeys(known, 0)
        for index, service in enumerate(self.services):
            path = f"services[{index}].memory_bytes"
            asked = service.memory_bytes
            for name, size in asked.items() if isinstance(asked, dict) else (("", asked),):
                if size < 0:
                    raise ValueError(f"{path}: cannot be {size}; write 0 or more")
                if name and name not in known:
                    raise ValueError(f"{path}: there is no region '{name}'; there are {', '.join(known)}")
                if name and known[name].shared_between_services:
                    raise ValueError(f"{path}: all services share the entries of '{name}'; leave it out")
            for name, region in known.items():
                promised[name] += self._guarantee_bytes(service, region)
                most = int(region.memory_bytes * GUARANTEED_RATIO_MAX)
                if promised[name] > most:
                    raise ValueError(
                        f"{path}: with it services are guaranteed {promised[name]} bytes of '{name}', {most} at most "
                        f"(a tenth is everybody's); write less, or give the region more memory_bytes"
                    )
        if sum(bool(service.memory_bytes) for service in self.services) > GUARANTEES_MAX:
            raise ValueError(f"services: at most {GUARANTEES_MAX} of them can have memory_bytes")
        return self

    def _guarantee_bytes(self, service: ServiceConfig, region: RegionConfig) -> int:
        if isinstance(service.memory_bytes, dict):
            return service.memory_bytes.get(region.name, 0)
        if region.shared_between_services:
            return 0
        of_all = sum(other.memory_bytes for other in self.regions if not other.shared_between_services)
        return service.memory_bytes * region.memory_bytes // of_all

    def shares(self, region: str) -> dict[bytes, int]:
        """Return what services are guaranteed of each shard of a region, in bytes, by their encoded names.

        >>> ClusterConfig(regions=[{"name": "orders", "shards": 2}],
        ...               services=[{"name": "desk", "memory_bytes": 1_000_000}]).shares("orders")
        {b'desk': 500000}
        """
        config = self.region(region)
        sizes = {service.name.encode(): self._guarantee_bytes(service, config) for service in self.services}
        return {name: size // config.shards for name, size in sizes.items() if size >= config.shards}

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
