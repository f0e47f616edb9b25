"""kill -9 at every step of a compaction, aimed: before and after whatever it writes, the store is whole and complete.

The owners are forks of one process, each with a copy of the same store, so that hundreds of deaths take seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS_MIN = 150

SCRIPT = r'''
import os, shutil, signal, sys
from daycache_ray.storage import compaction, directory as directories
from daycache_ray.storage.fence_page import FenceWriter
from daycache_ray.storage.generation import Generation
from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.store import Store
from daycache_ray.storage.verify import verify
from daycache_ray.words.effects import Append, Apply, Commit
from daycache_ray.words.records import LogRecord
from daycache_ray.words.types import ShardId

folder = sys.argv[1]
KEYS = 40
compaction.STEP_ITEMS, compaction.CHANGED_STEP_ITEMS, compaction.REST_ITEMS_MAX = 20, 8, 3


def opened(directory):
    return Store.open(directory, cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=1 << 20)


def key_of(lsn):
    return b"\0\1\1s%d" % (lsn * 7 % KEYS)


def value_of(lsn):
    return b"%d" % lsn + (bytes(6_000) if lsn % 10 == 0 else b"")


def turn(store, lsn):
    kind = 2 if lsn % 11 == 0 else 1
    record = LogRecord(lsn, 1, kind, key_of(lsn), value_of(lsn) if kind == 1 else b"", expires_at_ns=lsn % 3)
    store.begin()
    store.perform(Append((record,)))
    store.perform(Apply((record,), undoable=True))
    if lsn % 4 == 0:
        store.perform(Commit(lsn, 1, 0, lsn))
    store.commit()


def expected(last):
    found = {}
    for lsn in range(1, last + 1):
        if lsn % 11 == 0:
            found.pop(key_of(lsn), None)
        else:
            found[key_of(lsn)] = value_of(lsn)
    return found


def compact_and_die(directory, kill_at, tell):
    """Compact with a turn after each step; die at the `kill_at`-th point, 0 is never. Returns the points passed."""
    points = 0

    def point():
        nonlocal points
        points += 1
        if points == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def aimed(cls, name):
        real = getattr(cls, name)
        def around(*arguments, **fields):
            point()
            result = real(*arguments, **fields)
            point()
            return result
        setattr(cls, name, around)

    store = opened(directory)
    lsn = store.recovered().applied_lsn
    for cls, name in ((Generation, "begin_copying"), (Generation, "end_turn"), (FenceWriter, "set_generation"),
                      (directories, "remove_folder"), (Generation, "close"), (compaction.Compaction, "finish")):
        aimed(cls, name)
    while store.compact():
        if lsn < 330:
            lsn += 1
            turn(store, lsn)
            os.write(tell, b"%d\n" % lsn)
    store.close()
    return points


def in_a_fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def audit(directory, told):
    store = opened(directory)
    last = store.recovered().applied_lsn
    assert last >= told, (last, told)
    items = {}
    snapshot = store.open_snapshot()
    while part := snapshot.next_items(1 << 30):
        items |= {key: record[40:] for key, record in part}
    snapshot.close()
    assert items == expected(last), (last, len(items))
    reader = StoreReader(directory)
    for key, value in items.items():
        assert bytes(reader.fetch(key)[1]) == value
    reader.close()
    assert len(directories.generations(directory)) == 1
    turn(store, last + 1)
    store.close()
    report = verify(directory)
    assert report.damages == [], report.damages


def prepare():
    store = opened(f"{folder}/first")
    for lsn in range(1, 301):
        turn(store, lsn)
    store.close()


assert in_a_fork(prepare) == 0
kills = kill_at = 0
while True:
    kill_at += 1
    directory = f"{folder}/{kill_at}"
    shutil.copytree(f"{folder}/first", directory)
    heard, tell = os.pipe()
    status = in_a_fork(lambda: compact_and_die(directory, kill_at, tell))
    os.close(tell)
    with os.fdopen(heard) as pipe:
        told = [int(line) for line in pipe]
    assert status in (0, -signal.SIGKILL), (kill_at, status)
    assert in_a_fork(lambda: audit(directory, max(told, default=300))) == 0, kill_at
    shutil.rmtree(directory)
    if status == 0:
        break
    kills += 1
print("killed", kills)
'''


def test_killed_at_every_step_of_a_compaction() -> None:
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="daycache-test-", dir=parent) as folder:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, folder],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert int(done.stdout.split()[-1]) >= KILLS_MIN, done.stdout
