"""Walking a whole store: every order, counter and file must say the same.

Reads only, from any process, also while the owner writes: everything comes out of one transaction. A file that is torn
can end the process that touches it (SIGBUS, LMDB's assertions), so whoever must live on runs this module as a
program: `python -m daycache_ray.storage.verify DIRECTORY` prints JSON lines, progress and at last a report.
"""

from __future__ import annotations

import os
import struct
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import lmdb
import msgspec
import xxhash

from daycache_ray.storage import directory as directories
from daycache_ray.storage.costs import cost_bytes
from daycache_ray.storage.counted_queues import CountedQueues
from daycache_ray.storage.counted_waiting import CountedWaiting
from daycache_ray.storage.entries import places_of
from daycache_ray.storage.environments import open_shared
from daycache_ray.storage.fence_page import FencePage
from daycache_ray.storage.large_values import Reference, is_large, pages_bytes, reference_of
from daycache_ray.storage.log import reference_in, unpack_entry
from daycache_ray.storage.state import STATE_KEY, State, unpack_state
from daycache_ray.storage.tag_check import TagCheck
from daycache_ray.structures.tags import ROW_SLOT
from daycache_ray.words.errors import CacheError, CorruptRecordError, StoreFormatError
from daycache_ray.words.limits import SLOT_COUNT
from daycache_ray.words.records import HEADER, HEADER_BYTES, Flag, Header

DAMAGES_MAX: Final = 100
"""Most damages that a report lists; the rest is counted."""

_STEP_ENTRIES: Final = 10_000
_COUNT: Final = struct.Struct("<I")
_KEY_LENGTH: Final = struct.Struct("<H")
_DATABASES: Final = (b"data", b"order", b"expiry", b"large", b"log", b"undo", b"dirty", b"tags")


class Damage(msgspec.Struct, frozen=True):
    """One thing that is not as it must be: where, and what is said of it."""

    where: str
    said: str


class Report(msgspec.Struct):
    """What was walked, and every damage found; a store without any is whole."""

    directory: str
    generation: int = 0
    entries_count: int = 0
    log_records_count: int = 0
    undoable_count: int = 0
    large_files_count: int = 0
    large_bytes: int = 0
    damages_count: int = 0
    damages: list[Damage] = []

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged."""
        return self.damages_count == 0


Progress = Callable[[int, int], None]
"""Hears how much of how much is done, in entries and megabytes of files."""


def verify(directory: str, progress: Progress = lambda done, of: None) -> Report:
    """Walk the store in `directory` and return what was found. Never raises because of damage.

    Raises:
        FileNotFoundError: there is no store.
        StoreFormatError: it is of another format; nothing of it is understood.
        UnavailableError: it cannot be read from this process.
    """
    report = Report(directory, damages=[])
    if directories.read_identity(directory) is None:
        raise FileNotFoundError(f"{directory} holds no store")
    walk = _Walk(directory, report, progress)
    try:
        walk.fence()
        walk.generation()
    except (lmdb.Error, CorruptRecordError) as error:
        walk.damage(f"generation {report.generation}", f"LMDB gives up: {error}")
    return report


class _Walk:
    """One walk through one store."""

    def __init__(self, directory: str, report: Report, progress: Progress) -> None:
        self._directory = directory
        self._folder = os.path.join(directory, directories.LARGE_NAME)
        self._report = report
        self._progress = progress
        self._done = self._of = 0
        self._named = 0
        self._references: Counter[str] = Counter()
        self._checked_files: set[str] = set()
        self._tags = TagCheck(self.damage)

    def damage(self, where: str, said: str) -> None:
        """Note a damage."""
        self._report.damages_count += 1
        if len(self._report.damages) < DAMAGES_MAX:
            self._report.damages.append(Damage(where, said))

    def fence(self) -> None:
        """Look at the fence page, and at which generation it names."""
        try:
            page = FencePage(os.path.join(self._directory, directories.FENCE_NAME))
        except (OSError, StoreFormatError) as error:
            self.damage("fence", str(error))
            return
        fence = page.read()
        page.close()
        if fence is None:
            self.damage("fence", "its owner died while it wrote the words, and nobody has opened the store since")
        else:
            self._named = fence.generation

    def generation(self) -> None:
        """Walk the generation that readers are sent to: the newest complete one."""
        for number in reversed(directories.generations(self._directory)):
            self._report.generation = number
            opened = open_shared(directories.generation_path(self._directory, number))
            try:
                environment = opened.environment
                with environment.begin() as transaction:
                    state = self._state(transaction)
                    if state is None or not state.is_complete:
                        continue
                    if self._named and number != self._named:
                        self.damage("fence", f"it names generation {self._named}, the newest complete one is {number}")
                    tables = {}
                    for name in _DATABASES:
                        try:
                            tables[name] = environment.open_db(name, txn=transaction, create=False)
                        except lmdb.NotFoundError:
                            self.damage(f"generation {number}", f"has no database {name.decode()}")
                            return
                    self._everything(environment, transaction, tables, state)
                return
            finally:
                opened.release()
        self.damage("generations", "none is complete")

    def _state(self, transaction: lmdb.Transaction[bytes]) -> State | None:
        stored = transaction.get(STATE_KEY)
        if stored is None:
            return None
        try:
            return unpack_state(stored)
        except msgspec.MsgspecError as error:
            self.damage("state", f"cannot be read: {error}")
            return None

    def _everything(
        self,
        environment: lmdb.Environment,
        transaction: lmdb.Transaction[bytes],
        tables: dict[bytes, Any],
        state: State,
    ) -> None:
        def entries_in(name: bytes) -> int:
            return int(transaction.stat(tables[name])["entries"])

        self._of = entries_in(b"data") + entries_in(b"log") + (state.large_bytes >> 20)
        self._positions(state)
        self._data(environment, transaction, tables, state)
        self._tags.counts(transaction, tables[b"tags"])
        self._log(transaction, tables, state)
        self._undo(transaction, tables, state)
        self._counts(transaction, tables)
        self._progress(self._of, self._of)

    def _positions(self, state: State) -> None:
        if not state.base_lsn <= state.commit_lsn <= state.last_lsn:
            said = f"base {state.base_lsn}, commit {state.commit_lsn}, last {state.last_lsn} do not follow each other"
            self.damage("state", said)
        if state.applied_lsn > state.last_lsn or state.final_lsn > state.applied_lsn:
            said = f"final {state.final_lsn}, applied {state.applied_lsn}, last {state.last_lsn}"
            self.damage("state", f"{said} do not follow each other")

    def _data(
        self, environment: lmdb.Environment, transaction: lmdb.Transaction[bytes], tables: dict[bytes, Any],
        state: State,
    ) -> None:  # fmt: skip
        count, used_bytes, large_bytes, expiring, queues = 0, 0, 0, 0, CountedQueues(state)
        waiting = CountedWaiting(transaction, tables[b"dirty"])
        order, expiry = tables[b"order"], tables[b"expiry"]
        for key, record in transaction.cursor(db=tables[b"data"]).iternext():
            self._advance(1)
            where = f"data {key.hex()}"
            if key >= ROW_SLOT:
                used_bytes += self._tags.row(key, record, state.last_lsn)
                continue
            count += 1
            if len(record) < HEADER_BYTES or len(key) < 3 or int.from_bytes(key[:2], "big") >= SLOT_COUNT:
                self.damage(where, f"is no record: a key of {len(key)} bytes, a record of {len(record)}")
                continue
            header = Header(*HEADER.unpack_from(record))
            self._record(where, record, header)
            self._tags.entry(where, key, record)
            place, time_place = places_of(record)
            if transaction.get(place, db=order) != key:
                self.damage(where, f"place {header.order} of the eviction queue is not its own")
            expiring += bool(time_place)
            if time_place and transaction.get(time_place, db=expiry) is None:
                self.damage(where, f"is not listed to expire at {header.expires_at_ns}")
            used_bytes += (cost := cost_bytes(key, record))
            for said in filter(None, (queues.add(key, header, cost), waiting.add(key, header, cost))):
                self.damage(where, said)
            if is_large(record):
                reference = reference_of(record)
                large_bytes += pages_bytes(reference.size_bytes)
                self._references[reference.name] += 1
                said = self._file(reference)
                # The owner may have written the key meanwhile; then the file is rightly gone.
                if said and environment.begin(tables[b"data"]).get(key) == record:
                    self.damage(where, said)
        self._report.entries_count = count
        self._agree("entries", count, state.entries_count)
        self._agree("used bytes", used_bytes, state.used_bytes)
        for what, counted, noted in (*queues.pairs(), *waiting.pairs(state)):
            self._agree(what, counted, noted)
        self._agree("bytes of large values", large_bytes, state.large_bytes)
        self._agree("places in the eviction queue", int(transaction.stat(order)["entries"]), count)
        self._agree("entries listed to expire", int(transaction.stat(expiry)["entries"]), expiring)

    def _record(self, where: str, record: bytes, header: Header) -> None:
        rest = len(record) - HEADER_BYTES - 2
        if header.flags & Flag.LONG_KEY and (rest < 0 or _KEY_LENGTH.unpack_from(record, HEADER_BYTES)[0] > rest):
            self.damage(where, "its full key is longer than the record")

    def _log(self, transaction: lmdb.Transaction[bytes], tables: dict[bytes, Any], state: State) -> None:
        count = log_bytes = 0
        expected, epoch = state.base_lsn + 1, state.base_epoch
        for place, entry in transaction.cursor(db=tables[b"log"]).iternext():
            count += 1
            self._advance(1)
            lsn = int.from_bytes(place, "big")
            where = f"log {lsn}"
            if lsn != expected:
                self.damage(where, f"{expected} should stand there: the log has a gap")
            expected = lsn + 1
            try:
                cost, entry_epoch, large, record = unpack_entry(entry)
            except (msgspec.MsgspecError, struct.error) as error:
                self.damage(where, f"cannot be read: {error}")
                continue
            log_bytes += cost
            if record.lsn != lsn or record.epoch != entry_epoch or record.epoch < epoch:
                self.damage(where, f"says LSN {record.lsn}, epoch {record.epoch} after epoch {epoch}")
            epoch = record.epoch
            if large:
                reference = reference_in(record)
                self._references[reference.name] += 1
                if (said := self._file(reference)) and transaction.get(place, db=tables[b"log"]) is not None:
                    self.damage(where, said)
        self._report.log_records_count = count
        self._agree("records in the log", count, state.last_lsn - state.base_lsn)
        self._agree("bytes of the log", log_bytes, state.log_bytes)

    def _undo(self, transaction: lmdb.Transaction[bytes], tables: dict[bytes, Any], state: State) -> None:
        for place, stored in transaction.cursor(db=tables[b"undo"]).iternext():
            self._report.undoable_count += 1
            lsn = int.from_bytes(place, "big")
            where = f"before-image {lsn}"
            end = 2 + int(_KEY_LENGTH.unpack_from(stored)[0]) if len(stored) >= 2 else 1
            image = stored[end:]
            if end > len(stored) or 0 < len(image) < HEADER_BYTES:
                self.damage(where, f"is no record: {len(stored)} bytes")
                continue
            if not state.commit_lsn < lsn <= state.last_lsn:
                self.damage(where, f"its record is committed or not in the log ({state.commit_lsn}, {state.last_lsn}]")
            if image and is_large(image):
                self._references[reference_of(image).name] += 1
                if said := self._file(reference_of(image)):
                    self.damage(where, said)

    def _counts(self, transaction: lmdb.Transaction[bytes], tables: dict[bytes, Any]) -> None:
        counted: dict[str, int] = {}
        for place, stored in transaction.cursor(db=tables[b"large"]).iternext():
            name = bytes(place).decode("ascii", "replace")
            counted[name] = int(_COUNT.unpack(stored)[0]) if len(stored) == _COUNT.size else -1
        for name in sorted(counted.keys() | self._references.keys()):
            there, meant = counted.get(name, 0), self._references.get(name, 0)
            if there != meant:
                self.damage(f"large/{name}", f"is counted {there} times and meant {meant} times")

    def _file(self, reference: Reference) -> str:
        """Return what is wrong with a large value's file, "" when nothing is."""
        if reference.name in self._checked_files:
            return ""
        path = os.path.join(self._folder, reference.name)
        digest = xxhash.xxh3_64()
        size = 0
        try:
            with open(path, "rb", buffering=0) as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    digest.update(chunk)
                    size += len(chunk)
                    self._advance(len(chunk) >> 20)
        except OSError as error:
            return f"its file {reference.name} cannot be read: {error.strerror}"
        if size != reference.size_bytes:
            return f"its file {reference.name} has {size} bytes and should have {reference.size_bytes}"
        if digest.intdigest() != reference.digest:
            return f"its file {reference.name} holds other bytes than were written"
        self._checked_files.add(reference.name)
        self._report.large_files_count += 1
        self._report.large_bytes += size
        return ""

    def _agree(self, what: str, found: int, noted: int) -> None:
        if found != noted:
            self.damage("state", f"{what}: {found} found, {noted} noted")

    def _advance(self, step: int) -> None:
        before = self._done // _STEP_ENTRIES
        self._done += step
        if self._done // _STEP_ENTRIES != before:
            self._progress(min(self._done, self._of), self._of)


def _run(directory: str) -> int:
    encode = msgspec.json.Encoder().encode

    def say(**fields: Any) -> None:
        sys.stdout.buffer.write(encode(fields) + b"\n")
        sys.stdout.buffer.flush()

    try:
        say(report=verify(directory, lambda done, of: say(done=done, of=of)))
    except (CacheError, OSError) as error:
        say(error=type(error).__name__, message=str(error))
    return 0


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1]))
