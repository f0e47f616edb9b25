"""`daycache config check`, `daycache config schema`: a configuration without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from daycache_ray.cli.say import AsJson, in_bytes, mistakes_said, plain, result, table
from daycache_ray.words.config import ClusterConfig

app = typer.Typer(help="Look at a configuration without starting anything.", no_args_is_help=True)


@app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(help="A YAML or TOML file; without one, the DAYCACHE_* variables alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a configuration file with the DAYCACHE_* variables over it; exit code 1 when it cannot be."""
    with mistakes_said(as_json):
        config = ClusterConfig.load(path)
        if as_json:
            result(True, {"valid": True, "config": plain(config.model_dump(mode="json"))}, "")
            return
        table(
            f"cluster '{config.name}'",
            ("region", "level", "shards", "replicas", "strong copies", "memory", "ttl_s", "loader"),
            [
                (
                    region.name,
                    region.level.value,
                    region.shards,
                    region.replicas,
                    region.strong_copies,
                    in_bytes(region.memory_bytes),
                    "-" if region.ttl_s is None else f"{region.ttl_s:g}",
                    region.loader or "-",
                )
                for region in config.regions
            ],
        )


@app.command()
def schema(
    as_json: Annotated[bool, typer.Option("--json", help="A schema is JSON with or without.")] = False,
) -> None:
    """Print the JSON schema of a configuration, for editors."""
    del as_json
    typer.echo(json.dumps(ClusterConfig.model_json_schema(), indent=2))
