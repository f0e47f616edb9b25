"""What a machine's readings mean for a cache. Pure: `daycache doctor` reads, this judges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from daycache_ray.cli.say import in_bytes
from daycache_ray.storage.leftovers import ClusterFolder
from daycache_ray.words.config import ClusterConfig

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"

PYTHON_MIN: Final = (3, 10)
RELEASES_MIN: Final = {"ray": (2, 60), "lmdb": (3, 0)}
"""Oldest releases with what the cache relies on; the others are any that the package manager let in."""

OPEN_FILES_MIN: Final = 4_096
"""Ray's processes and a few hundred connections; Ray itself recommends 65 536 for large clusters."""


class LaggingReader(NamedTuple):
    """A process that holds an old snapshot of a store."""

    directory: str
    pid: int
    command: str
    lag_transactions: int


class Readings(NamedTuple):
    """What was read off one machine; None where it could not be."""

    system: str
    python: tuple[int, ...]
    packages: dict[str, str | None]
    memory_total_bytes: int | None
    memory_free_bytes: int | None
    memory_file_system: str | None
    memory_writable: bool
    cluster_folders: tuple[ClusterFolder, ...]
    lagging_readers: tuple[LaggingReader, ...]
    open_files_max: int
    has_boottime: bool
    auth_mode: str | None
    has_token: bool
    ray_address: str | None
    ray_answers: bool


class Finding(NamedTuple):
    """One thing looked at. `advice` is empty where nothing is to be done."""

    about: str
    verdict: str
    said: str
    advice: str = ""


def diagnose(readings: Readings, config: ClusterConfig) -> tuple[Finding, ...]:
    """Return a finding per thing looked at, in the order in which a cache needs them."""
    return (
        *_platform(readings),
        *_packages(readings),
        *_memory(readings, config),
        *_stores(readings),
        *_readers(readings),
        _open_files(readings),
        _authentication(readings),
        _ray(readings),
    )


def _platform(readings: Readings) -> Iterator[Finding]:
    version = ".".join(str(part) for part in readings.python)
    if readings.python < PYTHON_MIN:
        yield Finding("Python", FAIL, version, "Install Python 3.10 or newer.")
    else:
        yield Finding("Python", OK, version)
    if readings.system != "Linux" or not readings.has_boottime:
        yield Finding(
            "system",
            FAIL,
            f"{readings.system} has no shared memory file system or no CLOCK_BOOTTIME",
            "Run the cache on Linux; its clients by HTTP or the Redis protocol may be anywhere.",
        )
    else:
        yield Finding("system", OK, readings.system)


def _packages(readings: Readings) -> Iterator[Finding]:
    for name, release in readings.packages.items():
        wanted = RELEASES_MIN.get(name)
        if release is None:
            yield Finding(name, FAIL, "is not installed", f"pip install {name}")
        elif wanted and _numbers(release) < wanted:
            least = ".".join(map(str, wanted))
            yield Finding(name, FAIL, release, f"Needs {least} or newer: pip install '{name}>={least}'")
        else:
            yield Finding(name, OK, release)


def _memory(readings: Readings, config: ClusterConfig) -> Iterator[Finding]:
    about, total, free = config.memory_path, readings.memory_total_bytes, readings.memory_free_bytes
    if total is None or free is None:
        yield Finding(about, FAIL, "is no directory", "Mount a tmpfs there, or write another memory_path.")
        return
    if not readings.memory_writable:
        yield Finding(about, FAIL, "cannot be written to", "Give this user the right, or write another memory_path.")
        return
    if readings.memory_file_system not in {"tmpfs", "ramfs", None}:
        yield Finding(
            about,
            WARN,
            f"is {readings.memory_file_system}, not tmpfs: reads will touch a disk",
            "Write memory_path: /dev/shm, or mount a tmpfs there.",
        )
    # On one machine every copy of a shard is in the same memory; on several, a node has at most one of each.
    needed = sum(region.memory_bytes for region in config.regions)
    copies = sum(region.memory_bytes * region.replicas for region in config.regions)
    said = f"{in_bytes(free)} free of {in_bytes(total)}; the regions may fill {in_bytes(needed)} a copy"
    if total < needed:
        yield Finding(
            about,
            FAIL,
            said,
            f"In a container: --shm-size={-(-copies // 2**30)}g. Else: mount -o remount,size=…, or less memory_bytes.",
        )
    elif free < copies:
        yield Finding(
            about,
            WARN,
            f"{said}, {in_bytes(copies)} with all copies on this machine",
            "Enough for one copy of each region. On one machine: smaller memory_bytes, or replicas: 1.",
        )
    else:
        yield Finding(about, OK, said)


def _stores(readings: Readings) -> Iterator[Finding]:
    for folder in readings.cluster_folders:
        said = f"holds {in_bytes(folder.size_bytes)}; {folder.reason}"
        if folder.is_left:
            yield Finding(folder.path, WARN, said, "`daycache doctor --fix` removes it.")
        else:
            yield Finding(folder.path, OK, said)
    if not readings.cluster_folders:
        yield Finding("stores", OK, "none in memory")


def _readers(readings: Readings) -> Iterator[Finding]:
    for reader in readings.lagging_readers:
        yield Finding(
            reader.directory,
            WARN,
            f"process {reader.pid} ({reader.command}) holds a snapshot that is {reader.lag_transactions} turns old",
            "What was freed since cannot be used again: end that process, or let it go on if it is stopped.",
        )


def _open_files(readings: Readings) -> Finding:
    said = f"at most {readings.open_files_max} for a process"
    if readings.open_files_max < 0 or readings.open_files_max >= OPEN_FILES_MIN:
        return Finding("open files", OK, said if readings.open_files_max >= 0 else "unlimited")
    return Finding("open files", WARN, said, "ulimit -n 65536 before `ray start`: Ray and each connection take some.")


def _authentication(readings: Readings) -> Finding:
    mode = readings.auth_mode
    if mode == "token" and not readings.has_token:
        return Finding(
            "RAY_AUTH_MODE",
            FAIL,
            "token, but there is no token",
            "`ray get-auth-token --generate`, and the same file on every machine, or RAY_AUTH_TOKEN.",
        )
    if mode is None:
        return Finding(
            "RAY_AUTH_MODE",
            WARN,
            "is not set: Ray then decides at each start by whether it finds a token, on each machine for itself",
            "Set RAY_AUTH_MODE to token or disabled, the same for `ray start`, drivers and jobs.",
        )
    return Finding("RAY_AUTH_MODE", OK, mode)


def _ray(readings: Readings) -> Finding:
    if readings.ray_address is None:
        return Finding(
            "Ray",
            WARN,
            "none runs on this machine",
            "`ray start --head` before `daycache up`; daycache.start() in a program starts its own.",
        )
    if not readings.ray_answers:
        return Finding(
            "Ray",
            FAIL,
            f"nothing answers at {readings.ray_address}",
            "Start it there, or correct --address or RAY_ADDRESS (host:port of the head).",
        )
    return Finding("Ray", OK, f"answers at {readings.ray_address}", "`daycache status` asks the cache itself.")


def _numbers(release: str) -> tuple[int, ...]:
    """Return the leading numbers of a release, as far as it has numbers.

    >>> _numbers("2.60.0"), _numbers("3.1rc1"), _numbers("dev")
    ((2, 60, 0), (3,), ())
    """
    found = []
    for part in release.split("."):
        if not part.isdecimal():
            break
        found.append(int(part))
    return tuple(found)
