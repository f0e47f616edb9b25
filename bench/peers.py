"""The caches beside which this one is measured, run for real: Redis, memcached, diskcache, a dict actor.

Servers are child processes of the bench on ports of their own, on loopback, without persistence; they
end by pid with the bench. What is not installed is skipped, and `skipped` says why.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

START_DEADLINE_S = 10.0


class Peer(NamedTuple):
    """What another process needs to call a peer: its kind and where it is."""

    kind: str
    address: str

    @property
    def label(self) -> str:
        """Return the name to print."""
        return LABELS[self.kind]


LABELS = {
    "redis": "redis-py (hiredis)",
    "redis-kept": "redis-py, one connection kept, RESP2",
    "memcached": "memcached via pymemcache",
    "diskcache": "diskcache",
    "actor": "naive Ray dict actor",
    "daycache": "DayCache",
}


@dataclass(frozen=True)
class Caller:
    """The calls of one client of one peer, as its users would write them."""

    get: Callable[[str], Any]
    set: Callable[..., Any]
    get_many: Callable[[list[str]], Any]
    set_many: Callable[[dict[str, bytes]], Any]
    get_array: Callable[[str], Any]
    set_array: Callable[..., Any]
    close: Callable[[], None]


def open_caller(peer: Peer) -> Caller:
    """Return a client of the peer, opened in this process."""
    return OPENERS[peer.kind](peer.address)


def _redis(address: str, *, is_kept: bool = False) -> Caller:
    import redis

    host, _, port = address.rpartition(":")
    client = (
        redis.Redis(host, int(port), protocol=2, single_connection_client=True)
        if is_kept
        else redis.Redis(host, int(port))
    )

    def get_array(key: str) -> Any:
        return np.frombuffer(client.get(key), dtype=np.float64)

    def set_array(key: str, value: Any) -> Any:
        return client.set(key, value.tobytes())

    return Caller(client.get, client.set, client.mget, client.mset, get_array, set_array, client.close)


def _memcached(address: str) -> Caller:
    from pymemcache.client.base import Client

    client = Client(address, no_delay=True)

    def set_acknowledged(key: str, value: bytes) -> Any:
        return client.set(key, value, noreply=False)

    def set_many(values: dict[str, bytes]) -> Any:
        return client.set_many(values, noreply=False)

    def get_array(key: str) -> Any:
        return np.frombuffer(client.get(key), dtype=np.float64)

    def set_array(key: str, value: Any) -> Any:
        return client.set(key, value.tobytes(), noreply=False)

    return Caller(client.get, set_acknowledged, client.get_many, set_many, get_array, set_array, client.close)


def _diskcache(address: str) -> Caller:
    import diskcache

    cache = diskcache.Cache(address, eviction_policy="none")

    def get_many(keys: list[str]) -> dict[str, Any]:
        with cache.transact():
            return {key: cache.get(key) for key in keys}

    def set_many(values: dict[str, bytes]) -> None:
        with cache.transact():
            for key, value in values.items():
                cache.set(key, value)

    return Caller(cache.get, cache.set, get_many, set_many, cache.get, cache.set, cache.close)


def _actor(address: str) -> Caller:
    import ray

    name, _, namespace = address.partition("@")
    handle = ray.get_actor(name, namespace=namespace)

    def get(key: str) -> Any:
        return ray.get(handle.get.remote(key))

    def set(key: str, value: Any) -> Any:
        return ray.get(handle.set.remote(key, value))

    def get_many(keys: list[str]) -> Any:
        return ray.get(handle.get_many.remote(keys))

    def set_many(values: dict[str, bytes]) -> Any:
        return ray.get(handle.set_many.remote(values))

    return Caller(get, set, get_many, set_many, get, set, lambda: None)


def _daycache(address: str) -> Caller:
    import daycache_ray as daycache

    name, region_name, level = address.split("/")
    cache = daycache.connect(name, service="bench")
    region = cache.region(region_name)

    def set_at_level(key: str, value: Any) -> Any:
        return region.set(key, value, level=level)

    write = set_at_level if level else region.set
    return Caller(region.get, write, region.get_many, region.set_many, region.get, write, cache.close)


OPENERS: dict[str, Callable[[str], Caller]] = {
    "redis": _redis,
    "redis-kept": lambda address: _redis(address, is_kept=True),
    "memcached": _memcached,
    "diskcache": _diskcache,
    "actor": _actor,
    "daycache": _daycache,
}


class DictActor:
    """What people write first: a dict in an actor."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value or None."""
        return self._values.get(key)

    def set(self, key: str, value: Any) -> bool:
        """Keep the value."""
        self._values[key] = value
        return True

    def get_many(self, keys: list[str]) -> list[Any]:
        """Return the values in the order of the keys."""
        return [self._values.get(key) for key in keys]

    def set_many(self, values: dict[str, Any]) -> bool:
        """Keep the values."""
        self._values.update(values)
        return True

    def pid(self) -> int:
        """Return the process that holds the dict."""
        return os.getpid()


@dataclass
class Peers:
    """The peers that run now, the processes that serve them, and why others do not."""

    running: dict[str, Peer]
    pids: dict[str, int]
    skipped: dict[str, str]

    def server_pids(self, kind: str) -> tuple[int, ...]:
        """Return the pids whose processor time belongs to calls of this peer."""
        pid = self.pids.get(kind.removesuffix("-kept"))
        return () if pid is None else (pid,)


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(command: list[str], port: int) -> Iterator[int]:
    """Run a server until the block ends and yield its pid once it accepts connections on `port`."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_die_with_parent
    )
    try:
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended at once with status {process.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer on port {port} after {START_DEADLINE_S:g} s")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _die_with_parent() -> None:
    """Let the kernel end the server when the bench is killed (Linux: PR_SET_PDEATHSIG)."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@contextlib.contextmanager
def running_peers(*, with_actor: bool = True, memory_bytes: int = 1 << 30) -> Iterator[Peers]:
    """Run every peer that is installed until the block ends; the dict actor needs a running Ray."""
    peers = Peers({}, {}, {})
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-peers-")))
        _run_servers(peers, stack, folder, memory_bytes)
        try:
            import diskcache  # noqa: F401

            peers.running["diskcache"] = Peer("diskcache", str(folder / "diskcache"))
        except ImportError:
            peers.skipped["diskcache"] = "the package diskcache is not installed"
        if with_actor:
            stack.callback(_start_actor(peers))
        yield peers


def _run_servers(peers: Peers, stack: contextlib.ExitStack, folder: Path, memory_bytes: int) -> None:
    redis_port, memcached_port = free_port(), free_port()
    redis_command = [
        "--bind",
        "127.0.0.1",
        "--port",
        str(redis_port),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    ]
    memcached_command = [
        "-l",
        "127.0.0.1",
        "-p",
        str(memcached_port),
        "-U",
        "0",
        "-m",
        str(memory_bytes >> 20),
        "-I",
        "8m",
        "-u",
        "nobody",
    ]
    for kind, program, package, command, port in (
        ("redis", "redis-server", "redis", redis_command, redis_port),
        ("memcached", "memcached", "pymemcache", memcached_command, memcached_port),
    ):
        path = shutil.which(program)
        if path is None:
            peers.skipped[kind] = f"{program} is not installed"
            continue
        try:
            __import__(package)
            peers.pids[kind] = stack.enter_context(server([path, *command], port))
        except (ImportError, RuntimeError) as error:
            peers.skipped[kind] = str(error)
            continue
        peers.running[kind] = Peer(kind, f"127.0.0.1:{port}")
        if kind == "redis":
            peers.running["redis-kept"] = Peer("redis-kept", f"127.0.0.1:{port}")


def _start_actor(peers: Peers) -> Callable[[], None]:
    import ray

    name = f"dict-{uuid.uuid4().hex[:8]}"
    namespace = ray.get_runtime_context().namespace
    handle = ray.remote(num_cpus=0)(DictActor).options(name=name).remote()
    peers.pids["actor"] = ray.get(handle.pid.remote())
    peers.running["actor"] = Peer("actor", f"{name}@{namespace}")
    return lambda: ray.kill(handle)
