"""Who reads is known: who lags is named, who died is forgotten, and one too many is sent to the socket."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daycache_ray.cli import doctor
from daycache_ray.storage import environments
from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.reader_lag import reader_lag_of
from daycache_ray.words.errors import UnavailableError
from tests.unit.client.test_node_reads import Owner
from tests.unit.storage.conftest import SERVICE, Turns

KEY = SERVICE + b"k"

HOLDER = """
import sys
from daycache_ray.storage.reader import StoreReader
reader = StoreReader(sys.argv[1])
held = [reader.environment.begin() for _ in range(int(sys.argv[2]))]
print("holds", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(directory: str, count: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A process that holds read transactions; killed at the end."""
    command = [sys.executable, "-c", HOLDER, directory, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_reader_that_lags_is_named(turns: Turns) -> None:
    turns.put(b"k")
    assert turns.store.statistics().oldest_reader_pid == 0
    with holder(turns.directory) as process:
        assert turns.store.statistics().oldest_reader_pid == 0
        for number in range(30):
            turns.put(b"k%d" % number, bytes(1_000))
            turns.put(b"k", b"%d" % number)
        found = turns.store.statistics()
        assert found.oldest_reader_pid == process.pid
        assert found.oldest_reader_lag == 60
        assert 60 * 4096 < found.pinned_bytes_max < found.mapped_bytes
        assert found.readers_count >= 2
        assert reader_lag_of(turns.directory).pid == process.pid
    # Its end is noticed by whoever looks, at the latest after 64 records.
    for number in range(70):
        turns.put(b"k%d" % number)
    found = turns.store.statistics()
    assert (found.oldest_reader_pid, found.oldest_reader_lag, found.pinned_bytes_max) == (0, 0, 0)


def test_what_a_reader_pins_is_the_growth_it_causes(directory: str) -> None:
    turns = Turns(directory, limit_bytes=1 << 20)

    def churn() -> int:
        for number in range(300):
            turns.put(b"k%d" % (number % 40), bytes(1_000))
            turns.commit()
        return turns.store.statistics().mapped_bytes

    # The log is as long as it gets after this.
    for _ in range(5):
        settled = churn()
    assert churn() - settled < 64 * 4096
    with holder(turns.directory):
        grown = churn() - settled
        assert grown > 300 * 4096
        assert turns.store.statistics().pinned_bytes_max >= grown // 2
    turns.store.close()


def test_the_doctor_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LONG_TRANSACTIONS", 20)
    turns = Turns(str(tmp_path / "daycache" / "shop-1f" / "orders" / "3" / "0"))
    turns.put(b"k")
    with holder(turns.directory) as process:
        assert list(doctor._lagging_readers(tmp_path / "daycache")) == []
        for _ in range(25):
            turns.put(b"k")
        (found,) = doctor._lagging_readers(tmp_path / "daycache")
        assert (found.directory, found.pid, found.lag_transactions) == (turns.directory, process.pid, 25)
        assert "python" in found.command
    turns.store.close()


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Turns]:
    """A store whose table holds four readers."""
    monkeypatch.setattr(environments, "READERS_MAX", 4)
    monkeypatch.setattr(environments, "_LOCK_FILE_BYTES", 1)
    turns = Turns(str(tmp_path / "store"))
    turns.put(b"k", b"1")
    assert turns.store._current.environment.max_readers() == 4
    yield turns
    turns.store.close()


ONE_TOO_MANY = """
import sys
from daycache_ray.storage.reader import StoreReader
from daycache_ray.words.errors import UnavailableError
key = bytes.fromhex(sys.argv[2])
for what in (lambda: StoreReader(sys.argv[1]).get(key), lambda: StoreReader(sys.argv[1]).get_many([key])):
    try:
        print(what())
    except UnavailableError as error:
        print(error)
"""


def test_one_reader_too_many_is_sent_to_the_socket(
    small_table: Turns, in_another_process: Callable[..., str]
) -> None:
    directory = small_table.directory
    with holder(directory, count=3):
        said = in_another_process(ONE_TOO_MANY, directory, KEY.hex())
        assert said.count("by its socket") == 2, said
        # The owner reads by its own slot, and writes.
        small_table.put(b"k", b"2")
        assert small_table.value(b"k") == b"2"
    # The owner looks for the dead now and then, also when nobody writes.
    assert small_table.store.check_readers() == 3
    assert "by its socket" not in in_another_process(ONE_TOO_MANY, directory, KEY.hex())


def test_an_open_reader_that_finds_the_table_full(small_table: Turns) -> None:
    reader = StoreReader(small_table.directory)
    with holder(small_table.directory, count=2):
        held = [reader.environment.begin() for _ in range(2)]
        for read in (lambda: reader.get(KEY), lambda: reader.get_many([KEY])):
            with pytest.raises(UnavailableError, match="as many as its table holds"):
                read()
        held.pop().abort()
        assert reader.get(KEY) is not None
        held.pop().abort()
    reader.close()


def test_a_client_that_finds_the_table_full_asks_the_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environments, "READERS_MAX", 4)
    monkeypatch.setattr(environments, "_LOCK_FILE_BYTES", 1)
    owner = Owner(tmp_path)
    owner.put("a", 1)
    owner.stage.region.set("a", 1)
    asked = len(owner.stage.replica.requests)
    assert owner.stage.region.get("a") == 1
    assert len(owner.stage.replica.requests) == asked
    with holder(owner.directory, count=2):
        held = [owner.store._current.environment.begin() for _ in range(2)]
        assert owner.near("a") == "far"
        assert owner.stage.region.get("a") == 1
        assert len(owner.stage.replica.requests) == asked + 1
        del held
    owner.stage.session.close()
    owner.store.close()
