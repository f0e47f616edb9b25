"""`daycache up`, `down`, `status`: a cluster that outlives the command."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daycache_ray.cli.connection import (
    DEFAULT_CLUSTER,
    DEFAULT_SERVICE,
    Address,
    Cluster,
    Service,
    connected,
    join_ray,
    wait_for_nodes,
)
from daycache_ray.cli.say import AsJson, in_bytes, mistakes_said, result, table
from daycache_ray.words.config import ClusterConfig

if TYPE_CHECKING:
    from daycache_ray.words.cluster_map import ShardMap

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A YAML or TOML file; DAYCACHE_* variables lie over it.")
]


def up(
    address: Address = None,
    config: ConfigFile = None,
    http: Annotated[bool, typer.Option("--http", help="Serve HTTP too, on Ray Serve.")] = False,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Wait until Ray has so many machines.")] = 1,
    wait_s: Annotated[float, typer.Option("--wait-s", min=0, help="Longest wait for --nodes, in seconds.")] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Start a cache on a Ray cluster that runs, and leave it running.

    Start Ray first: `ray start --head` on one machine, `ray up cluster.yaml` on several. Copies of a
    shard go to the machines that are there at the start, so wait for all with --nodes.
    """
    with mistakes_said(as_json):
        wanted = ClusterConfig.load(config)
        join_ray(address)
        wait_for_nodes(nodes, wait_s)
        from daycache_ray.actors.launch import start

        service = wanted.services[0].name if wanted.services else DEFAULT_SERVICE
        cache = start(wanted, http=http, service=service)
        url = cache.http_url
        cache.close()
        regions = [region.name for region in wanted.regions]
        text = f"cluster '{wanted.name}' runs with {len(regions)} regions: {', '.join(regions)}"
        result(
            as_json,
            {"cluster": wanted.name, "regions": regions, "http_url": url},
            f"{text}\nHTTP: {url}" if url else text,
        )


def down(address: Address = None, cluster: Cluster = DEFAULT_CLUSTER, as_json: AsJson = False) -> None:
    """Stop a cache: its actors, its HTTP, its memory. Ray runs on."""
    with mistakes_said(as_json):
        join_ray(address)
        from daycache_ray.actors.launch import stop

        stop(cluster, address=address)
        result(as_json, {"cluster": cluster, "stopped": True}, f"cluster '{cluster}' is stopped")


def status(
    address: Address = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    service: Service = DEFAULT_SERVICE,
    as_json: AsJson = False,
) -> None:
    """Say who serves what: each shard's primary and copies, and what each region holds."""
    with mistakes_said(as_json), connected(address, cluster, service) as cache:
        found = cache.cluster_map
        statistics = cache.statistics()
        if as_json:
            result(
                True,
                {
                    "cluster": found.name,
                    "map_version": found.version,
                    "http_url": found.http_url or None,
                    "regions": {
                        name: {
                            **{k: v for k, v in dataclasses.asdict(statistics[name]).items() if k != "shards"},
                            "shards": [_shard_fields(shard) for shard in shards],
                        }
                        for name, shards in found.shards.items()
                    },
                },
                "",
            )
            return
        typer.echo(f"cluster '{found.name}'" + (f", HTTP at {found.http_url}" if found.http_url else ""))
        table(
            "Regions",
            ("region", "level", "shards", "entries", "used", "budget", "writes", "evictions"),
            [
                (
                    region.name,
                    region.level.value,
                    region.shards,
                    statistics[region.name].entries_count,
                    in_bytes(statistics[region.name].used_bytes),
                    in_bytes(region.memory_bytes),
                    statistics[region.name].writes_count,
                    statistics[region.name].evictions_count,
                )
                for region in found.config.regions
            ],
        )
        table(
            "Shards",
            ("shard", "epoch", "primary", "in sync", "copies"),
            [_shard_row(shard) for shards in found.shards.values() for shard in shards],
        )


def _shard_fields(shard: ShardMap) -> dict[str, Any]:
    return {
        "number": shard.shard.number,
        "epoch": shard.epoch,
        "primary_seat": None if shard.primary is None else shard.primary_seat,
        "members": [
            {
                "seat": member.seat,
                "in_sync": member.in_sync,
                "actor": member.actor_name,
                "node_id": member.node_id,
                "pid": member.pid,
                "address": f"{member.host}:{member.port}",
            }
            for member in shard.members
        ],
    }


def _shard_row(shard: ShardMap) -> tuple[Any, ...]:
    primary = shard.primary
    where = f"seat {primary.seat}, {primary.host} pid {primary.pid}" if primary else "none at the moment"
    return (str(shard.shard), shard.epoch, where, sum(m.in_sync for m in shard.members), len(shard.members))
