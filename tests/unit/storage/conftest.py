"""A store on a fresh directory, and short words for turns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daycache_ray.storage.store import Store, StoreEffect
from daycache_ray.words.effects import Append, Apply, Commit
from daycache_ray.words.records import HEADER, HEADER_BYTES, Header, LogRecord, RecordKind
from daycache_ray.words.types import ShardId

SHARD = ShardId("orders", 3)
LIMIT_BYTES = 8 << 20
SERVICE = b"\0\1\x03svc"


class Turns:
    """A store with a log that grows by itself: `put`, `delete`, `evict` append a record in a turn of its own."""

    def __init__(self, directory: str, limit_bytes: int = LIMIT_BYTES, eviction: Any = "two_hands") -> None:
        self.directory = directory
        self.eviction = eviction
        self.limit_bytes = limit_bytes
        self.epoch = 1
        self.store = self._open()

    def _open(self) -> Store:
        return Store.open(
            self.directory,
            cluster="shop",
            shard=SHARD,
            seat=0,
            limit_bytes=self.limit_bytes,
            eviction=self.eviction,
        )

    def reopen(self) -> Store:
        """Close the store and open it again."""
        self.store.close()
        self.store = self._open()
        return self.store

    def turn(self, *effects: StoreEffect) -> None:
        """Perform effects as one turn."""
        self.store.begin()
        for effect in effects:
            self.store.perform(effect)
        self.store.commit()

    @property
    def last_lsn(self) -> int:
        """The LSN of the newest record."""
        return self.store._active.state.last_lsn

    def record(self, kind: RecordKind, name: bytes, value: bytes = b"", **fields: Any) -> LogRecord:
        """Return the next record of the log, not appended yet."""
        return LogRecord(self.last_lsn + 1, self.epoch, int(kind), SERVICE + name, value, **fields)

    def write(self, record: LogRecord, applied: bool = True, undoable: bool = True) -> LogRecord:
        """Append a record, and apply it unless it waits for its commit."""
        self.turn(Append((record,)), *((Apply((record,), undoable),) if applied else ()))
        return record

    def put(self, name: bytes, value: bytes = b"value", applied: bool = True, **fields: Any) -> LogRecord:
        """Append a PUT."""
        return self.write(self.record(RecordKind.PUT, name, value, **fields), applied)

    def delete(self, name: bytes, applied: bool = True) -> LogRecord:
        """Append a DELETE."""
        return self.write(self.record(RecordKind.DELETE, name), applied)

    def evict(self, key: bytes, epoch: int, lsn: int) -> LogRecord:
        """Append an EVICT of exactly one version."""
        record = LogRecord(
            self.last_lsn + 1, self.epoch, int(RecordKind.EVICT), key, target_epoch=epoch, target_lsn=lsn
        )
        return self.write(record)

    def commit(self, lsn: int | None = None, horizon_ns: int = 0, keep_lsn: int | None = None) -> None:
        """Commit up to an LSN, or everything."""
        end = self.last_lsn if lsn is None else lsn
        self.turn(Commit(end, self.epoch, horizon_ns, end if keep_lsn is None else keep_lsn))

    def value(self, name: bytes) -> bytes | None:
        """Return the visible value of a key."""
        return self.store.payload(SERVICE + name)

    def header(self, name: bytes) -> Header:
        """Return the visible header of a key."""
        record = self.store.get(SERVICE + name)
        assert record is not None
        return Header(*HEADER.unpack(record[:HEADER_BYTES]))

    def large_files(self) -> list[str]:
        """Return the names of the files of large values."""
        return sorted(os.listdir(os.path.join(self.directory, "large")))


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def turns(directory: str) -> Iterator[Turns]:
    opened = Turns(directory)
    yield opened
    try:
        opened.store.close()
    except ValueError:
        # The test closed it.
        pass


@pytest.fixture
def in_another_process() -> Callable[..., str]:
    """Run a Python script in a process of its own and return what it printed."""

    def run(script: str, *arguments: str) -> str:
        # The script's own alarm bounds it: waiting with a timeout would poll the clock.
        done = subprocess.run(
            [sys.executable, "-c", f"import signal; signal.alarm(60)\n{script}", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
