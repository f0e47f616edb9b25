"""Another PID namespace has the same process ids, by which LMDB tells its readers apart: from there a store is not
read, and the socket answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daycache_ray.storage.leftovers import examine
from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.store import Store
from daycache_ray.words.errors import UnavailableError
from daycache_ray.words.types import ShardId

ROOT = Path(__file__).parents[2]
NEW_PID_NAMESPACE = ["unshare", "-Urpf"]

READER = """
import os, sys
from daycache_ray.storage.reader import StoreReader
from daycache_ray.words.errors import UnavailableError
assert os.getpid() < 10, os.getpid()
try:
    StoreReader(sys.argv[1])
except UnavailableError as error:
    print(error)
"""

OWNER = """
import sys
from daycache_ray.storage.cluster_use import ClusterUse
from daycache_ray.storage.store import Store
from daycache_ray.words.types import ShardId
use = ClusterUse(sys.argv[2], 1)
store = Store.open(sys.argv[1], cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=1 << 20)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def unshared() -> list[str]:
    """A command that runs another in a PID namespace of its own."""
    try:
        tried = subprocess.run([*NEW_PID_NAMESPACE, "true"], capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here to make a PID namespace with")
    if tried.returncode:
        pytest.skip("PID namespaces are not permitted here")
    return NEW_PID_NAMESPACE


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_a_reader_in_another_pid_namespace_is_sent_to_the_socket(unshared: list[str], tmp_path: Path) -> None:
    directory = str(tmp_path / "store")
    store = Store.open(directory, cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=1 << 20)
    before = store._current.environment.info()["num_readers"]
    command = [*unshared, sys.executable, "-c", READER, directory]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert "in another PID namespace: ask it by its socket" in done.stdout, done.stderr
    assert store._current.environment.info()["num_readers"] == before
    store.close()


def test_an_owner_in_another_pid_namespace_is_seen_from_here(unshared: list[str], tmp_path: Path) -> None:
    cluster = str(tmp_path / "daycache" / "c-1f")
    directory = f"{cluster}/r/0/0"
    command = [*unshared, sys.executable, "-c", OWNER, directory, cluster]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(UnavailableError, match="PID namespace"):
            StoreReader(directory)
        # Locks are the kernel's and hold across namespaces; process ids are not compared.
        (living,) = examine(str(tmp_path))
        assert "processes of its cluster run here" in living.reason
        owner.communicate("")
    (gone,) = examine(str(tmp_path))
    assert not gone.is_left
    assert "another PID namespace" in gone.reason
