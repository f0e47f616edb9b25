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
    faults_max: int = 1 << 30


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
        batch_ratio=random.choice((0.0, 0.3, 0.6)),
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


class Narrowing(NamedTuple):
    """What is left out of a drawn run; None leaves it as it was drawn."""

    faults: tuple[str, ...] | None = None
    faults_max: int | None = None
    clients: int | None = None
    keys: int | None = None
    trouble_ms: int | None = None

    def of(self, swarm: Swarm) -> Swarm:
        """Return the drawn run without what is left out."""
        mix = swarm.mix
        if self.clients is not None:
            mix = mix._replace(clients_count=min(self.clients, mix.clients_count))
        if self.keys is not None:
            mix = mix._replace(keys_count=min(self.keys, mix.keys_count))
        swarm = swarm._replace(mix=mix)
        if self.faults is not None:
            swarm = swarm._replace(faults=tuple(fault for fault in swarm.faults if fault in self.faults))
        if self.faults_max is not None:
            swarm = swarm._replace(faults_max=min(self.faults_max, swarm.faults_max))
        if self.trouble_ms is not None:
            swarm = swarm._replace(trouble_ns=min(self.trouble_ms * MS, swarm.trouble_ns))
        return swarm

    def options(self) -> str:
        """Return the options of the command that plays a run narrowed so."""
        said = [
            f" --{name.replace('_', '-')} {','.join(value) or 'none' if isinstance(value, tuple) else value}"
            for name, value in self._asdict().items()
            if value is not None
        ]
        return "".join(said)
