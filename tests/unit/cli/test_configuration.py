"""`daycache config` needs no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daycache_ray import __version__
from daycache_ray.cli.main import app
from daycache_ray.words.config import ClusterConfig, RegionConfig

RUN = CliRunner()


def test_check_says_what_it_read(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text("name: shop\nregions: [{name: orders, level: strong, ttl_s: 5}]\n")

    shown = RUN.invoke(app, ["config", "check", str(tmp_path / "shop.yaml")])
    told = RUN.invoke(app, ["config", "check", str(tmp_path / "shop.yaml"), "--json"])

    assert shown.exit_code == told.exit_code == 0
    assert "cluster 'shop'" in shown.stdout
    assert "orders" in shown.stdout
    assert ClusterConfig(**json.loads(told.stdout)["config"]) == ClusterConfig.load(
        tmp_path / "shop.yaml", environment={}
    )


def test_check_refuses_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text('[[regions]]\nname = "orders"\nshard = 2\n')

    shown = RUN.invoke(app, ["config", "check", str(tmp_path / "shop.toml")])
    told = RUN.invoke(app, ["config", "check", str(tmp_path / "shop.toml"), "--json"])

    advice = "regions[0].shard: there is no such field; did you mean 'shards'?"
    assert (shown.exit_code, shown.stdout, shown.stderr) == (1, "", f"ConfigError: {advice}\n")
    assert json.loads(told.stdout) == {"error": "ConfigError", "message": advice}


def test_check_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYCACHE_NAME", "evening")

    assert json.loads(RUN.invoke(app, ["config", "check", "--json"]).stdout)["config"]["name"] == "evening"


def test_the_schema_describes_every_field() -> None:
    schema = json.loads(RUN.invoke(app, ["config", "schema"]).stdout)

    assert set(schema["properties"]) == set(ClusterConfig.model_fields)
    region = schema["$defs"]["RegionConfig"]["properties"]
    assert set(region) == set(RegionConfig.model_fields)
    assert all("description" in field for field in region.values())


def test_the_version() -> None:
    assert RUN.invoke(app, ["--version"]).stdout == f"{__version__}\n"
