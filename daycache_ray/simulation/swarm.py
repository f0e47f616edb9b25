"""What one seed is like: members, levels, keys, clients, and which faults exist at all (swarm testing).

Source: Groce and others, "Swarm Testing" (2012): runs that leave faults out find more than runs that
have all of them.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from daycache_ray.simulation.network import MS, NetworkFaults
from daycache_ray.simulation.workload import Mix

FAULTS = ("crash", "aim", "wipe", "pause", "cut", "island", "step", "coordinator", "fence")


class Swarm(NamedTuple):
    """The configuration of one run; durations in ns."""

    members_count: int
    strong_copies: int
    mix: Mix
    network: NetworkFaults
    faults: tuple[str, ...]
    fault_every_ns: int
    drift_ppm: int
    wall_spread_ns: int
    slow_configuration_ns: int
    evicts: bool
    trouble_ns: int
    log_records_kept: int


def draw(random: Random, trouble_ns: int) -> Swarm:
    """Draw a run's configuration from the seed's random numbers."""
    members = random.choice((1, 2, 2, 2, 3, 3))
    keys = random.choice((3, 10, 40, 200, 2000))
    mix = Mix(
        keys_count=keys,
        clients_count=random.randrange(3, 10),
        strong_ratio=random.choice((0.1, 0.5, 0.9)),
        read_ratio=random.choice((0.2, 0.5, 0.7)),
        condition_ratio=random.choice((0.1, 0.3, 0.6)),
        ttl_ratio=random.choice((0.0, 0.2, 0.6)),
        single_ratio=random.choice((0.1, 0.3, 0.6)),
        think_ns=random.choice((4, 10, 20)) * MS,
    )
    rough = random.random() < 0.6
    network = NetworkFaults(
        loss_ratio=random.choice((0.0, 0.01, 0.05)) if rough else 0.0,
        duplicate_ratio=random.choice((0.0, 0.01, 0.05)) if rough else 0.0,
        slow_ratio=random.choice((0.0, 0.01, 0.03)) if rough else 0.0,
    )
    faults = tuple(fault for fault in FAULTS if random.random() < 0.5)
    return Swarm(
        members_count=members,
        strong_copies=min(members, random.choice((1, 2, 2))),
        mix=mix,
        network=network,
        faults=faults,
        fault_every_ns=random.choice((150, 400, 900)) * MS,
        drift_ppm=random.choice((0, 1_000, 15_000)),
        wall_spread_ns=random.choice((0, 100, 2_000)) * MS,
        slow_configuration_ns=random.choice((0, 0, 200, 1_200)) * MS,
        evicts=random.random() < 0.3,
        trouble_ns=trouble_ns,
        log_records_kept=random.choice((100, 300)),
    )
