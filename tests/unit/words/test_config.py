"""A configuration that cannot be is refused with the field's path and what to write instead."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from daycache_ray.words.config import ClusterConfig, PredictionConfig, RegionConfig, ServiceConfig, TimingConfig
from daycache_ray.words.errors import ConfigError
from daycache_ray.words.types import CacheConsistencyLevel

REFUSED: list[tuple[str, type[Any], dict[str, Any], list[str]]] = [
    ("unknown field", ClusterConfig, {"nmae": "shop"}, ["nmae: there is no such field; did you mean 'name'?"]),
    (
        "unknown field, nothing close",
        ServiceConfig,
        {"name": "hft", "zebra": 1},
        ["zebra: there is no such field; there are name"],
    ),
    ("missing", RegionConfig, {"shards": 2}, ["name: is required; write a value for it"]),
    ("name", ClusterConfig, {"name": "My Shop"}, ["name: 'My Shop' cannot be; write lower-case letters"]),
    ("name ends", RegionConfig, {"name": "orders-"}, ["name: 'orders-' cannot be"]),
    ("long name", ClusterConfig, {"name": "x" * 33}, ["name: String should have at most 32 characters"]),
    (
        "unknown field in a part",
        ClusterConfig,
        {"timing": {"lease": 1}},
        ["timing.lease: there is no such field; did you mean 'lease_s'?"],
    ),
    (
        "unknown field in a list's part",
        ClusterConfig,
        {"regions": [{"name": "a"}, {"name": "b", "shard": 4}]},
        ["regions[1].shard: there is no such field; did you mean 'shards'?"],
    ),
    ("range in a part", ClusterConfig, {"timing": {"beacon_s": 0}}, ["timing.beacon_s: must be greater than 0"]),
    (
        "rule in a part",
        ClusterConfig,
        {"timing": {"lease_s": 0.1}},
        ["timing.lease_s: must be at least two beacons; write 0.3 or more"],
    ),
    (
        "grace",
        TimingConfig,
        {"lease_s": 1.0},
        ["grace_s: must cover a lease on the slower clock; write 1.041 or more"],
    ),
    ("level", RegionConfig, {"name": "a", "level": "stron"}, ["level: must be 'strong', 'eventual' or 'weak'"]),
    (
        "several at once",
        ClusterConfig,
        {"regions": [{"name": "A"}, {"name": "b", "shards": 0}], "spare_actors": -1},
        [
            "regions[0].name: 'A' cannot be",
            "regions[1].shards: must be greater than or equal to 1 (got 0)",
            "spare_actors: must be greater than or equal to 0 (got -1)",
        ],
    ),
    ("no region", ClusterConfig, {"regions": []}, ["regions: is empty; name a region, or leave the field out"]),
    ("a name for a region", ClusterConfig, {"regions": ["orders"]}, ["regions[0]: must be a mapping with fields"]),
    ("a name for a list", ClusterConfig, {"regions": "orders"}, ["regions: must be a list (got 'orders')"]),
    ("regions by one name", ClusterConfig, {"regions": [{"name": "a"}] * 2}, ["regions: a stands there twice"]),
    ("services by one name", ClusterConfig, {"services": [{"name": "a"}] * 2}, ["services: a stands there twice"]),
    (
        "min_in_sync",
        ClusterConfig,
        {"regions": [{"name": "a", "min_in_sync": 3}]},
        ["regions[0].min_in_sync: cannot exceed replicas; write 2 or less, or more replicas"],
    ),
    (
        "prefetch",
        RegionConfig,
        {"name": "a", "prefetch": True},
        ["prefetch: needs a loader; name one, or write prefetch=False"],
    ),
    (
        "memory",
        RegionConfig,
        {"name": "a", "shards": 512},
        ["memory_bytes: each shard needs 1 MiB; write 536870912 or more"],
    ),
    ("ttl", RegionConfig, {"name": "a", "ttl_s": 0}, ["ttl_s: must be greater than 0"]),
    ("ttl in ms", RegionConfig, {"name": "a", "ttl_s": 1e12}, ["ttl_s: must be less than or equal to 315360000"]),
    ("ttl nan", RegionConfig, {"name": "a", "ttl_s": float("nan")}, ["ttl_s: "]),
    ("jitter nan", RegionConfig, {"name": "a", "ttl_jitter_ratio": float("nan")}, ["ttl_jitter_ratio: "]),
    ("lease nan", TimingConfig, {"lease_s": float("nan")}, ["lease_s: "]),
    ("drift nan", TimingConfig, {"clock_drift_ratio": float("nan")}, ["clock_drift_ratio: "]),
    ("holdout nan", PredictionConfig, {"holdout_ratio": float("nan")}, ["holdout_ratio: "]),
    ("loader path", RegionConfig, {"name": "a", "loader": "quotes"}, ["loader: 'quotes' names no object; write"]),
    ("loader object", RegionConfig, {"name": "a", "loader": 5}, ["loader: 'int' cannot load; give a callable"]),
    ("chain", PredictionConfig, {"chain_steps": 17}, ["chain_steps: must be less than or equal to 16 (got 17)"]),
    ("a long value is cut", ServiceConfig, {"name": "Q" * 5000}, ["name: "]),
]


@pytest.mark.parametrize(("model", "fields", "lines"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused_with_path_and_advice(model: type[Any], fields: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        model(**fields)

    said = str(caught.value).splitlines()
    assert len(said) == len(lines), said
    for line in lines:
        assert any(one.startswith(line) for one in said), said
    assert all(len(one) < 1_000 for one in said)


def test_a_part_built_by_hand_and_a_mapping_are_the_same() -> None:
    by_hand = ClusterConfig(name="shop", regions=(RegionConfig(name="orders", level=CacheConsistencyLevel.STRONG),))
    mapping: dict[str, Any] = {"name": "shop", "regions": [{"name": "orders", "level": "Strong"}]}
    by_mapping = ClusterConfig(**mapping)

    assert by_hand == by_mapping
    assert by_hand.region("orders").strong_copies == 2
    with pytest.raises(KeyError):
        by_hand.region("nope")


def test_the_default_has_the_three_regions_and_is_immutable() -> None:
    config = ClusterConfig()

    assert [region.name for region in config.regions] == ["market_data", "trading_positions", "analysis_results"]
    assert config.region("trading_positions").level is CacheConsistencyLevel.STRONG
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"  # type: ignore[misc]


def test_a_configuration_travels() -> None:
    config = ClusterConfig(regions=(RegionConfig(name="a", loader=len),))

    assert pickle.loads(pickle.dumps(config)) == config


YAML = """
name: shop
regions:
  - name: orders
    level: strong
    shards: 4
    replicas: 3
    loader: shop.origin:orders
services:
  - name: order-service
timing:
  beacon_s: 0.2
"""

TOML = """
name = "shop"
services = [{ name = "order-service" }]

[timing]
beacon_s = 0.2

[[regions]]
name = "orders"
level = "strong"
shards = 4
replicas = 3
loader = "shop.origin:orders"
"""


@pytest.mark.parametrize(("name", "text"), [("shop.yaml", YAML), ("shop.yml", YAML), ("shop.toml", TOML)])
def test_yaml_and_toml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    config = ClusterConfig.load(tmp_path / name, environment={})

    assert config == ClusterConfig(
        name="shop",
        regions=(
            RegionConfig(
                name="orders",
                level=CacheConsistencyLevel.STRONG,
                shards=4,
                replicas=3,
                loader="shop.origin:orders",
            ),
        ),
        services=(ServiceConfig(name="order-service"),),
        timing=TimingConfig(beacon_s=0.2),
    )


def test_the_environment_lies_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(YAML)

    config = ClusterConfig.load(
        str(tmp_path / "shop.yaml"),
        environment={"DAYCACHE_NAME": "mall", "DAYCACHE_TIMING__LEASE_S": "0.5", "DAYCACHE_SPARE_ACTORS": "3"},
    )

    assert (config.name, config.spare_actors) == ("mall", 3)
    assert (config.timing.lease_s, config.timing.beacon_s) == (0.5, 0.2)
    assert config.regions[0].name == "orders"


def test_the_environment_alone() -> None:
    config = ClusterConfig.load(
        environment={
            "DAYCACHE_REGIONS": '[{"name": "orders", "shards": 2}]',
            "DAYCACHE_PREDICTION": '{"enabled": false}',
            "DAYCACHE_PORT": "tcp://10.0.0.1:80",
            "HOME": "/",
        }
    )

    assert (config.regions, config.prediction.enabled) == ((RegionConfig(name="orders", shards=2),), False)


def test_the_process_own_environment_is_read_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYCACHE_NAME", "evening")

    assert ClusterConfig.load().name == "evening"
    assert ClusterConfig().name == "daycache"


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"DAYCACHE_REGIONS": "orders"}, "DAYCACHE_REGIONS: is not JSON; write lists and mappings such as"),
        ({"DAYCACHE_TIMING__LEASE": "1"}, "timing.lease: there is no such field; did you mean 'lease_s'?"),
        ({"DAYCACHE_TIMING__LEASE_S": "soon"}, "timing.lease_s: must be a valid number"),
        ({"DAYCACHE_NAME": "No"}, "name: 'No' cannot be"),
    ],
)
def test_refused_variables(environment: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClusterConfig.load(environment=environment)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{}", "a configuration is a .yaml, .yml or .toml file"),
        ("a.yaml", "[1, 2]", "the file must hold a mapping such as 'name: shop', not a list"),
        ("a.yaml", "1: 2", "the file must hold a mapping"),
        ("a.yaml", "a: [", "while parsing"),
        ("a.yaml", "name: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a.toml", "a = ", "Invalid value"),
        ("a.yaml", None, "cannot be read: No such file"),
        ("a.yaml", b"name: \xff", "can't decode"),
    ],
)
def test_refused_files(tmp_path: Path, name: str, text: str | bytes | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)

    with pytest.raises(ConfigError, match=f"{name}: ") as caught:
        ClusterConfig.load(tmp_path / name, environment={})
    assert said in str(caught.value)


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# nothing yet\n")

    assert ClusterConfig.load(tmp_path / "a.yaml", environment={}) == ClusterConfig()


def test_every_field_is_described() -> None:
    for model in (ClusterConfig, RegionConfig, ServiceConfig, TimingConfig, PredictionConfig):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}: give its Field a description of one sentence"
            assert field.description.endswith("."), f"{model.__name__}.{name}: a description is a sentence"
