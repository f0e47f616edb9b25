"""What other processes see of a store."""

from __future__ import annotations

import os
import sys
import threading
from binascii import crc32
from collections.abc import Callable

import pytest

from daycache_ray.storage.fence_page import WORD_GENERATION
from daycache_ray.storage.reader import StoreReader
from daycache_ray.words.effects import FinishCopy, ResetStore
from daycache_ray.words.errors import CacheClosedError, UnavailableError
from daycache_ray.words.records import HEADER_BYTES
from tests.unit.storage.conftest import SERVICE, Turns

KEY = SERVICE + b"k"

JOIN_S = 20.0


def test_a_reader_sees_committed_turns(turns: Turns) -> None:
    reader = StoreReader(turns.directory)
    assert reader.get(KEY) is None
    turns.put(b"k", b"1")
    record = reader.get(KEY)
    assert record is not None
    assert record[HEADER_BYTES:] == b"1"
    assert reader.fetch(KEY) == (record, b"1")
    assert reader.get_many([KEY, SERVICE + b"none", KEY]) == [record, None, record]
    assert reader.read_fence() == turns.store.fence.read()
    reader.close()


def test_a_hit_is_noted_and_a_miss_is_not(turns: Turns) -> None:
    turns.put(b"k")
    reader = StoreReader(turns.directory)
    reader.get(SERVICE + b"none")
    assert not any(reader.visited)
    reader.get(KEY)
    assert reader.visited[crc32(KEY) & reader.visited_mask] == 1
    assert turns.store.visited.take(KEY)
    reader.get_many([KEY, SERVICE + b"none"])
    assert turns.store.visited.take(KEY)
    reader.close()


def test_the_hot_path_of_a_client(turns: Turns) -> None:
    turns.put(b"k", b"1")
    reader = StoreReader(turns.directory)
    assert reader.begin(reader.data).get(KEY) == reader.get(KEY)
    turns.turn(ResetStore(), FinishCopy(1, 1, 0))
    assert reader.fence[WORD_GENERATION] != reader.generation
    reader.refresh()
    assert reader.fence[WORD_GENERATION] == reader.generation
    assert reader.begin(reader.data).get(KEY) is None
    reader.close()


def test_get_many_moves_to_the_new_generation(turns: Turns) -> None:
    turns.put(b"k", b"1")
    reader = StoreReader(turns.directory)
    turns.turn(ResetStore(), FinishCopy(1, 1, 0))
    assert reader.get_many([KEY]) == [None]
    reader.close()


def test_where_there_is_no_store(tmp_path: object) -> None:
    with pytest.raises(UnavailableError, match="by its socket"):
        StoreReader(f"{tmp_path}/none")


def test_another_pid_namespace_is_refused(turns: Turns) -> None:
    turns.store.fence.set_namespaces(1, 2)
    with pytest.raises(UnavailableError, match="PID namespace"):
        StoreReader(turns.directory)


def test_a_closed_reader_says_so(turns: Turns) -> None:
    reader = StoreReader(turns.directory)
    reader.close()
    reader.close()
    with pytest.raises(CacheClosedError):
        reader.get(KEY)
    with pytest.raises(CacheClosedError):
        reader.refresh()
    turns.put(b"k")


def test_a_large_value_that_vanishes_is_read_again(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    turns.put(b"k", bytes(10_000))
    reader = StoreReader(turns.directory)
    stale = reader.get(KEY)
    assert stale is not None
    turns.turn(ResetStore(), FinishCopy(1, 1, 0))
    turns.put(b"k", b"fresh")
    assert reader.payload(stale) is None
    found = reader.fetch(KEY)
    assert found is not None
    assert found[1] == b"fresh"
    monkeypatch.setattr(reader, "get", lambda _: stale)
    with pytest.raises(UnavailableError, match="ask its owner"):
        reader.fetch(KEY)
    reader.close()


def test_threads_share_a_reader_through_generations(turns: Turns) -> None:
    turns.put(b"k")
    reader = StoreReader(turns.directory)
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stop.is_set():
                reader.get(KEY)
                reader.get_many([KEY])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    interval_s = sys.getswitchinterval()
    # The writer gives the interpreter's lock away at every system call and must get it back soon.
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for lsn in range(1, 12):
            turns.turn(ResetStore(), FinishCopy(lsn, 1, 0))
            turns.put(b"k")
    finally:
        sys.setswitchinterval(interval_s)
        stop.set()
    for thread in threads:
        thread.join(JOIN_S)
        assert not thread.is_alive()
    assert not failures
    assert reader.get(KEY) is not None
    reader.close()


OTHER_PROCESS = """
import os, sys
from daycache_ray.storage.reader import StoreReader
directory, key = sys.argv[1], bytes.fromhex(sys.argv[2])
reader = StoreReader(directory)
"""


def test_another_process_reads(turns: Turns, in_another_process: Callable[..., str]) -> None:
    turns.put(b"k", b"1")
    turns.put(b"big", bytes(range(256)) * 100)
    script = """
print(reader.get(key)[40:], reader.get(b"none"))
record, view = reader.fetch(key[:-1] + b"big")
print(bytes(view) == bytes(range(256)) * 100, view.readonly)
"""
    assert in_another_process(OTHER_PROCESS + script, turns.directory, KEY.hex()) == "b'1' None\nTrue True\n"
    assert turns.store.visited.take(KEY)


def test_a_forked_child_reads_and_leaves_its_parent_alone(turns: Turns, in_another_process: Callable[..., str]) -> None:
    turns.put(b"k", b"1")
    script = """
def slots():
    return {line.split()[0] for line in reader._opened.environment.readers().splitlines()[1:]}
reader.get(key)
parent = str(os.getpid())
children = []
for how in ("uses it", "ends as a program does", "exits at once", "forks again"):
    child = os.fork()
    if child == 0:
        if how == "exits at once":
            os._exit(0)
        for _ in range(50):
            assert reader.get(key)[40:] == b"1"
            assert reader.get_many([key])[0][40:] == b"1"
        assert {parent, str(os.getpid())} <= slots(), slots()
        if how == "forks again":
            if os.fork() == 0:
                assert reader.get(key)[40:] == b"1"
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        if how == "ends as a program does":
            sys.exit(0)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, (how, status)
    assert parent in slots(), how
    assert reader.get(key)[40:] == b"1"
assert reader._opened.environment.reader_check() >= 2
assert slots() <= {parent, str(os.getppid())}, slots()
print("unhurt")
"""
    assert in_another_process(OTHER_PROCESS + script, turns.directory, KEY.hex()).endswith("unhurt\n")


def test_a_forked_child_of_the_owner_reads_too(directory: str, in_another_process: Callable[..., str]) -> None:
    script = """
import os, sys
sys.path.insert(0, os.getcwd())
from tests.unit.storage.conftest import Turns, SERVICE
from daycache_ray.storage.reader import StoreReader
turns = Turns(sys.argv[1])
turns.put(b"k", b"1")
child = os.fork()
if child == 0:
    reader = StoreReader(turns.directory)
    assert reader.get(SERVICE + b"k")[40:] == b"1"
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
turns.put(b"k", b"2")
assert turns.value(b"k") == b"2"
turns.store.close()
print("unhurt")
"""
    assert in_another_process(script, directory) == "unhurt\n"


def test_dead_readers_are_noticed(turns: Turns, in_another_process: Callable[..., str]) -> None:
    turns.put(b"k")
    script = "transaction = reader.begin(reader.data); transaction.get(key); os._exit(0)"
    in_another_process(OTHER_PROCESS + script, turns.directory, KEY.hex())
    environment = turns.store._current.environment
    assert len(environment.readers().splitlines()) >= 3
    for _ in range(70):
        turns.put(b"k")
    pids = {line.split()[0] for line in environment.readers().splitlines()[1:]}
    assert pids <= {str(os.getpid())}
