"""The store beside a plain model: what is visible is the fold, in log order, of the records that were applied.

Random turns of appends, late applies, commits, cuts, aborted turns, copies and reopenings; after each the
store's own books are audited: every order, counter and file says the same.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from daycache_ray.storage import compaction
from daycache_ray.storage import log as log_file
from daycache_ray.storage.costs import cost_bytes
from daycache_ray.storage.large_values import is_large, pages_bytes, reference_of
from daycache_ray.storage.log import reference_in
from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.store import Store, StoreEffect
from daycache_ray.words.effects import Append, Apply, Commit, FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.records import HEADER, HEADER_BYTES, Header, LogRecord, RecordKind
from daycache_ray.words.types import ShardId

KEYS = [b"\0\1\1sa", b"\0\1\1sb"]
"""Two only: what goes wrong between records of one key should happen often."""

SHARD = ShardId("orders", 0)
Visible = tuple[int, int, int, bytes]
"""Epoch, LSN, expires_at_ns, value."""

kinds = st.sampled_from([RecordKind.PUT, RecordKind.PUT, RecordKind.PUT, RecordKind.DELETE, RecordKind.EVICT])
values = st.one_of(st.binary(max_size=20), st.integers(4_000, 9_000).map(lambda size: b"L" * size))
expiries = st.sampled_from([0, 0, 10, 20])
Write = tuple[RecordKind, bytes, bytes, int, bool, bool]
"""Kind, key, value, expires_at_ns, whether an eviction misses its target, whether it is applied at commit only."""

writes = st.tuples(kinds, st.sampled_from(KEYS), values, expiries, st.booleans(), st.booleans())
writes_of_one_key = st.tuples(kinds, st.just(KEYS[0]), values, st.just(0), st.just(False), st.booleans())


def fold(base: dict[bytes, Visible], records: list[LogRecord], applied: set[int]) -> dict[bytes, Visible]:
    """What is visible after the applied records, in the order of the log."""
    visible = dict(base)
    for record in records:
        if record.lsn not in applied or not record.key:
            continue
        there = visible.get(record.key)
        if record.kind == RecordKind.PUT:
            visible[record.key] = (record.epoch, record.lsn, record.expires_at_ns, record.value)
        elif record.kind == RecordKind.DELETE or (
            there is not None and there[:2] == (record.target_epoch, record.target_lsn)
        ):
            visible.pop(record.key, None)
    return visible


class StoreMachine(RuleBasedStateMachine):
    """One store, and what it must show."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="dc-store-")
        self.directory = os.path.join(self.folder, "store")
        # Small, so that trimming happens.
        self.patches = [
            mock.patch.object(log_file, "LOG_RECORDS_KEPT", 6),
            mock.patch.object(log_file, "_TRIM_RECORDS", 2),
            mock.patch.object(compaction, "STEP_ITEMS", 1),
            mock.patch.object(compaction, "CHANGED_STEP_ITEMS", 1),
            mock.patch.object(compaction, "REST_ITEMS_MAX", 1),
        ]
        for patch in self.patches:
            patch.start()
        self.store = self.open()
        self.reader: StoreReader | None = None
        self.base: dict[bytes, Visible] = {}
        self.records: list[LogRecord] = []
        self.applied: set[int] = set()
        self.commit_lsn = 0
        self.first_lsn = 1
        self.base_epoch = 0
        self.epoch = 1

    def open(self) -> Store:
        return Store.open(self.directory, cluster="c", shard=SHARD, seat=0, limit_bytes=1 << 20)

    def teardown(self) -> None:
        if self.reader is not None:
            self.reader.close()
        self.store.close()
        for patch in self.patches:
            patch.stop()
        shutil.rmtree(self.folder)

    @property
    def last_lsn(self) -> int:
        return self.first_lsn + len(self.records) - 1

    def turn(self, *effects: StoreEffect) -> None:
        self.store.begin()
        for effect in effects:
            self.store.perform(effect)
        self.store.commit()

    def visible(self) -> dict[bytes, Visible]:
        return fold(self.base, self.records, self.applied)

    def drawn(self, kind: RecordKind, key: bytes, value: bytes, expires_at_ns: int, stale: bool, lsn: int) -> LogRecord:
        there = self.visible().get(key)
        target = (0, 0) if kind is not RecordKind.EVICT or there is None else there[:2]
        if stale:
            target = (target[0], target[1] + 1)
        is_put = kind is RecordKind.PUT
        return LogRecord(
            lsn,
            self.epoch,
            int(kind),
            key,
            value if is_put else b"",
            expires_at_ns=expires_at_ns if is_put else 0,
            target_epoch=target[0],
            target_lsn=target[1],
        )

    @initialize()
    def begin(self) -> None:
        self.reader = StoreReader(self.directory)

    @rule(drawn=st.lists(writes, max_size=4))
    def write(self, drawn: list[Write]) -> None:
        """A turn of several records; those that are not strong are applied at once, undoable."""
        effects: list[StoreEffect] = []
        for kind, key, value, expires_at_ns, stale, is_strong in drawn:
            record = self.drawn(kind, key, value, expires_at_ns, stale, self.last_lsn + 1)
            self.records.append(record)
            effects.append(Append((record,)))
            if not is_strong:
                self.applied.add(record.lsn)
                effects.append(Apply((record,), undoable=True))
        self.turn(*effects)

    @rule(step=st.integers(0, 3), commit_first=st.booleans())
    def commit(self, step: int, commit_first: bool) -> None:
        """A few records more are final; what of them waited for it is applied in the same turn."""
        lsn = min(self.last_lsn, self.commit_lsn + step)
        waiting = tuple(record for record in self.records if record.lsn <= lsn and record.lsn not in self.applied)
        effects: list[StoreEffect] = [Apply(waiting, undoable=False), Commit(lsn, self.epoch, lsn, lsn)]
        self.turn(*(reversed(effects) if commit_first else effects))
        self.applied |= {record.lsn for record in waiting}
        self.commit_lsn = lsn

    @rule(step=st.integers(0, 2))
    def truncate(self, step: int) -> None:
        """The log is cut a little above the commit; the next records are of a new epoch."""
        lsn = min(self.last_lsn, self.commit_lsn + step)
        self.turn(Truncate(lsn))
        self.records = [record for record in self.records if record.lsn <= lsn]
        self.applied = {applied for applied in self.applied if applied <= lsn}
        self.epoch += 1

    @rule(key=st.sampled_from(KEYS), value=values)
    def abort(self, key: bytes, value: bytes) -> None:
        """A turn that does everything, and is forgotten."""
        record = LogRecord(self.last_lsn + 1, self.epoch, int(RecordKind.PUT), key, value)
        self.store.begin()
        self.store.perform(Append((record,)))
        self.store.perform(Apply((record,), undoable=True))
        self.store.perform(Truncate(self.commit_lsn))
        self.store.perform(Commit(self.commit_lsn, self.epoch, 0, self.commit_lsn))
        self.store.abort()

    @rule()
    def reopen(self) -> None:
        """The owner goes and another comes."""
        self.store.close()
        self.store = self.open()

    @rule(items=st.dictionaries(st.sampled_from(KEYS), values), finish=st.booleans())
    def copy(self, items: dict[bytes, bytes], finish: bool) -> None:
        """A copy replaces everything, or is given up."""
        base = self.last_lsn + 3
        records = {key: HEADER.pack(self.epoch, base - 1, 0, 99, 0, 0, 0, 0) + value for key, value in items.items()}
        self.turn(ResetStore(), LoadItems(tuple(records.items())))
        if not finish:
            return
        self.turn(FinishCopy(base, self.epoch, 5))
        self.base = {key: (self.epoch, base - 1, 0, value) for key, value in items.items()}
        self.records, self.applied, self.commit_lsn, self.first_lsn = [], set(), base, base + 1
        self.base_epoch = self.epoch

    @rule(steps=st.integers(1, 12))
    def compact(self, steps: int) -> None:
        """The store is rewritten a little further, or to the end; other turns come between."""
        for _ in range(steps):
            if not self.store.compact():
                break

    @invariant()
    def shows_the_fold(self) -> None:
        visible = self.visible()
        for key in KEYS:
            record = self.store.get(key)
            assert (record is None) == (key not in visible), key
            if record is not None:
                header = Header(*HEADER.unpack(record[:HEADER_BYTES]))
                shown = (header.epoch, header.lsn, header.expires_at_ns, self.store.payload(key))
                assert shown == visible[key]
            if self.reader is not None:
                assert self.reader.get(key) == record
        snapshot = self.store.open_snapshot()
        found = {key: record[HEADER_BYTES:] for key, record in snapshot.next_items(1 << 30)}
        snapshot.close()
        assert found == {key: value for key, (_, _, _, value) in visible.items()}

    @invariant()
    def knows_its_log(self) -> None:
        recovered = self.store.recovered()
        kept = [record for record in self.records if record.lsn > recovered.base_lsn]
        assert list(recovered.records) == kept
        assert recovered.commit_lsn == self.commit_lsn
        epochs = {record.lsn: record.epoch for record in self.records}
        assert recovered.base_epoch == epochs.get(recovered.base_lsn, self.base_epoch)
        assert self.first_lsn - 1 <= recovered.base_lsn <= self.commit_lsn
        assert recovered.applied_lsn == max(self.applied, default=self.first_lsn - 1)

    @invariant()
    def keeps_its_books(self) -> None:
        generation = self.store._current
        entries, log, images, state = generation.entries, generation.log, generation.images, generation.state
        references: Counter[str] = Counter()
        used = large = 0
        with generation.environment.begin() as transaction:
            orders, expiries_found = {}, set()
            for key, record in transaction.cursor(db=entries.data):
                header = Header(*HEADER.unpack(record[:HEADER_BYTES]))
                orders[header.order.to_bytes(8, "big")] = key
                if header.expires_at_ns:
                    expiries_found.add(header.expires_at_ns.to_bytes(8, "big") + header.order.to_bytes(8, "big"))
                used += cost_bytes(key, record)
                if is_large(record):
                    references[reference_of(record).name] += 1
                    large += pages_bytes(reference_of(record).size_bytes)
            assert dict(transaction.cursor(db=entries.order)) == orders
            assert {key for key, _ in transaction.cursor(db=entries.expiry)} == expiries_found
            for lsn in range(state.base_lsn + 1, state.last_lsn + 1):
                logged = log.read(transaction, lsn)
                assert logged is not None
                if logged.flags & 4:
                    references[reference_in(logged).name] += 1
            for lsn in images.lsns:
                assert lsn > self.commit_lsn
                image = images.image(transaction, lsn)
                if image is not None and is_large(image):
                    references[reference_of(image).name] += 1
            assert set(images.lsns) == {lsn for lsn in self.applied if lsn > self.commit_lsn}
            counted = {
                name.decode(): int.from_bytes(count, "little") for name, count in transaction.cursor(db=entries.counts)
            }
        assert counted == dict(references)
        assert (state.entries_count, state.used_bytes, state.large_bytes) == (len(orders), used, large)
        if self.store._copy is None:
            assert set(os.listdir(os.path.join(self.directory, "large"))) == set(references)


StoreMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=25)
TestStore = StoreMachine.TestCase


@settings(max_examples=150)
@given(
    drawn=st.lists(writes_of_one_key, min_size=3, max_size=7),
    steps=st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=3),
    cut=st.integers(0, 3),
    reopens=st.booleans(),
)
def test_mixed_levels_of_one_key(drawn: list[Write], steps: list[tuple[int, bool]], cut: int, reopens: bool) -> None:
    """Strong records that are applied under eventual ones of the same key, then a cut between them."""
    machine = StoreMachine()
    try:
        for one in drawn:
            machine.write([one])
        for step, commit_first in steps:
            machine.commit(step, commit_first)
            machine.shows_the_fold()
        if reopens:
            machine.reopen()
        machine.truncate(cut)
        machine.shows_the_fold()
        machine.knows_its_log()
        machine.keeps_its_books()
        machine.commit(3, commit_first=False)
        machine.shows_the_fold()
        machine.keeps_its_books()
    finally:
        machine.teardown()
