"""A store on a shared memory that really is full: a sentence, not a signal, and a way back."""

from __future__ import annotations

import subprocess
import sys

import pytest

OWNER = """
import os, sys
from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.space import removals_that_fit
from daycache_ray.storage.store import Store
from daycache_ray.words.effects import Append, Apply, Commit, FinishCopy, LoadItems, ResetStore
from daycache_ray.words.errors import StoreFullError
from daycache_ray.words.records import HEADER, LogRecord
from daycache_ray.words.types import ShardId

folder, size = sys.argv[1], int(sys.argv[2])
store = Store.open(f"{folder}/store", cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=4 << 20)
last = 0

def fitting():
    disk = os.statvfs(folder)
    return min(4_096, removals_that_fit(disk.f_bavail * disk.f_frsize))

def turn(*records):
    store.begin()
    store.perform(Append(records))
    store.perform(Apply(records, undoable=True))
    store.perform(Commit(records[-1].lsn, 1, 0, records[-1].lsn))
    store.commit()

def put(name, value):
    global last
    turn(LogRecord(last + 1, 1, 1, b"\\0\\1\\1s" + name, value))
    last += 1

# Far beyond the budget, which the shell would keep: until the file system has nothing left.
refused = 0
for number in range(1_000_000):
    try:
        put(b"%d" % number, bytes(size))
    except StoreFullError as error:
        assert "docker run --shm-size" in str(error), error
        refused += 1
        if refused == 3:
            break
kept = store.entries_count
assert kept == last > 0, (kept, last)
assert store.recovered().commit_lsn == last
print("refused after", kept, flush=True)
try:
    store.begin()
    store.perform(ResetStore())
    store.perform(LoadItems(((b"\\0\\1\\1sx", HEADER.pack(1, 1, 0, 0, 0, 0, 0, 0) + bytes(1 << 20)),)))
    store.commit()
except StoreFullError:
    print("no room for a copy", flush=True)
# Evictions need memory too, and have some.
while store.entries_count > kept // 2:
    gone = [
        LogRecord(last + 1 + i, 1, 3, key, target_epoch=epoch, target_lsn=lsn)
        for i, (key, epoch, lsn) in enumerate(store.victims(1 << 40, fitting()))
    ]
    turn(*gone)
    last += len(gone)
print("evicted to half", flush=True)
for number in range(10):
    put(b"again%d" % number, bytes(size))
reader = StoreReader(f"{folder}/store")
assert reader.fetch(b"\\0\\1\\1sagain9")[1] == bytes(size)
reader.close()
store.close()
store = Store.open(f"{folder}/store", cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=4 << 20)
assert store.recovered().commit_lsn == last
store.close()
print("usable", flush=True)
"""

IN_A_SMALL_TMPFS = 'mount -t tmpfs -o size=24m tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'


def in_a_small_tmpfs(folder: object, size: int) -> subprocess.CompletedProcess[str]:
    """Run the owner where 24 MiB are all there is, in a mount namespace of its own."""
    command = ["unshare", "-Urm", "sh", "-c", IN_A_SMALL_TMPFS, "sh", str(folder), sys.executable, OWNER, str(size)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def can_mount(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mount")
    try:
        command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
        tried = subprocess.run(command, capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here to mount a small tmpfs with")
    if tried.returncode:
        pytest.skip("a small tmpfs cannot be mounted here: user namespaces are not permitted")


@pytest.mark.parametrize("size", [100, 3_000, 300_000])
def test_a_full_shared_memory_is_an_error_and_not_the_end(can_mount: None, tmp_path: object, size: int) -> None:
    done = in_a_small_tmpfs(tmp_path, size)
    assert done.returncode == 0, f"exit status {done.returncode} (-7 is SIGBUS)\n{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("usable\n"), done.stdout


def test_a_map_that_is_full_is_an_error_too(tmp_path: object) -> None:
    script = OWNER.replace(
        "folder, size =",
        "import daycache_ray.storage.generation as g; g.map_bytes_for = lambda _: 4 << 20\nfolder, size =",
    )
    # A full map refuses evictions with less left than a full file system does; the shell keeps the budget far below it.
    script = script[: script.index("try:\n    store.begin()")] + "store.close()\nprint('usable', flush=True)\n"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), "100"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("usable\n"), done.stdout
