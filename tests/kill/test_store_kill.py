"""kill -9 of a store's owner, a hundred times at random moments: what it said is committed is there, and nothing
is half there."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from daycache_ray.storage.large_values import is_large, reference_of
from daycache_ray.storage.log import reference_in
from daycache_ray.storage.reader import StoreReader
from daycache_ray.storage.store import Store
from daycache_ray.storage.verify import verify
from daycache_ray.words.records import HEADER, HEADER_BYTES, Header
from daycache_ray.words.types import ShardId

KILLS = 100
KILLS_MIN = 20
BUDGET_S = 50.0
SHARD = ShardId("orders", 0)
LIMIT_BYTES = 4 << 20
COUNTER_KEY = b"\0\1\1scounter"

OWNER = """
import os, random, sys
from daycache_ray.storage import compaction
from daycache_ray.storage.store import Store
from daycache_ray.words.effects import Append, Apply, Commit, FinishCopy, LoadItems, ResetStore, Truncate
from daycache_ray.words.records import LogRecord
from daycache_ray.words.types import ShardId

directory, seed = sys.argv[1], int(sys.argv[2])
chance = random.Random(seed)
store = Store.open(directory, cluster="c", shard=ShardId("orders", 0), seat=0, limit_bytes=4 << 20)
recovered = store.recovered()
records = {record.lsn: record for record in recovered.records}
last, committed = recovered.base_lsn + len(recovered.records), recovered.commit_lsn
say = lambda text: os.write(1, text.encode())
compaction.STEP_ITEMS, compaction.CHANGED_STEP_ITEMS = 40, 20
compacting = False
say("open\\n")
while True:
    if compacting or chance.random() < 0.05:
        compacting = store.compact()
    chosen = chance.random()
    if chosen < 0.03 and last > committed:
        last = chance.randint(committed, last)
        say(f"cutting {last}\\n")
        store.begin()
        store.perform(Truncate(last))
        store.commit()
        continue
    if chosen < 0.05:
        snapshot = store.open_snapshot()
        items = snapshot.next_items(1 << 40)
        snapshot.close()
        store.begin()
        store.perform(ResetStore())
        store.perform(LoadItems(items))
        store.commit()
        store.begin()
        store.perform(FinishCopy(last, 1, 0))
        store.commit()
        committed = last
        say(f"committed {last}\\n")
        continue
    turn = []
    for _ in range(chance.choice((1, 1, 1, 10, 60))):
        last += 1
        key = b"\\0\\1\\1s%d" % chance.randrange(200)
        kind = 2 if chance.random() < 0.2 else 1
        value = b"" if kind == 2 else bytes(chance.choice((20, 20, 100, 3_000, 6_000)))
        turn.append(LogRecord(last, 1, kind, key, value, expires_at_ns=chance.choice((0, 5_000))))
    # The last record of every turn says how far the log goes: it must agree with what is visible.
    last += 1
    turn.append(LogRecord(last, 1, 1, b"\\0\\1\\1scounter", b"%d" % last))
    store.begin()
    store.perform(Append(tuple(turn)))
    store.perform(Apply(tuple(turn), undoable=True))
    if chance.random() < 0.5:
        committed = last
        store.perform(Commit(last, 1, 0, last))
    store.commit()
    say(f"{'committed' if committed == last else 'applied'} {last}\\n")
"""


@pytest.fixture
def directory() -> Iterator[str]:
    # In shared memory, as in life.
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="daycache-test-", dir=parent) as folder:
        yield os.path.join(folder, "store")


def told(owner: subprocess.Popen[bytes], kill_after_s: float) -> list[str]:
    """Kill the owner a while after it opened its store, and return what it had said by then."""
    assert owner.stdout is not None
    said = b""
    while b"open\n" not in said:
        assert select.select([owner.stdout], [], [], 30)[0], "the owner does not open its store"
        part = os.read(owner.stdout.fileno(), 65_536)
        assert part, f"the owner ended: {owner.wait()}"
        said += part
    # Its pipe is read meanwhile, so it never waits for us.
    end_s = time.monotonic() + kill_after_s
    while (left_s := end_s - time.monotonic()) > 0 and select.select([owner.stdout], [], [], left_s)[0]:
        said += os.read(owner.stdout.fileno(), 65_536)
    owner.send_signal(signal.SIGKILL)
    rest, _ = owner.communicate(timeout=30)
    lines = (said + rest).decode().splitlines(keepends=True)
    return [line.strip() for line in lines if line.endswith("\n")]


def audit(directory: str, said: list[str]) -> None:
    """Open the store as a new owner does, and check it against what the dead one said, and against itself."""
    store = Store.open(directory, cluster="c", shard=SHARD, seat=0, limit_bytes=LIMIT_BYTES)
    try:
        recovered = store.recovered()
        last_lsn = recovered.base_lsn + len(recovered.records)
        claims = [line.split() for line in said if line != "open"]
        committed = max((int(lsn) for word, lsn in claims if word == "committed"), default=0)
        assert recovered.commit_lsn >= committed, f"{committed} was said to be committed"
        # One turn more may have been committed than was said.
        if claims:
            assert last_lsn >= int(claims[-1][1]), claims[-1]
        assert [record.lsn for record in recovered.records] == list(range(recovered.base_lsn + 1, last_lsn + 1))
        assert recovered.applied_lsn <= last_lsn
        check_books(store, last_lsn)
        assert verify(directory).damages == []
        counter = store.payload(COUNTER_KEY)
        reader = StoreReader(directory)
        found = reader.fetch(COUNTER_KEY)
        assert (found[1] if found else None) == counter
        reader.close()
        if counter is not None:
            assert int(counter) <= last_lsn
            newest = [record for record in recovered.records if record.key == COUNTER_KEY]
            if newest:
                assert int(counter) == newest[-1].lsn
    finally:
        store.close()


def check_books(store: Store, last_lsn: int) -> None:
    """Every record stands in both orders, is counted, and is the newest of its key in the log; every file is meant."""
    generation = store._current
    entries, log, images = generation.entries, generation.log, generation.images
    references: Counter[str] = Counter()
    with generation.environment.begin() as transaction:
        logged = {}
        for lsn in range(generation.state.base_lsn + 1, last_lsn + 1):
            record = log.read(transaction, lsn)
            assert record is not None, lsn
            logged[record.key] = record
            if record.flags & 4:
                references[reference_in(record).name] += 1
        orders, expiring, used = {}, 0, 0
        for key, stored in transaction.cursor(db=entries.data):
            header = Header(*HEADER.unpack(stored[:HEADER_BYTES]))
            assert header.lsn <= last_lsn
            orders[header.order] = key
            expiring += header.expires_at_ns > 0
            if is_large(stored):
                references[reference_of(stored).name] += 1
            newest = logged.pop(key, None)
            if newest is not None:
                assert (newest.kind, newest.lsn) == (1, header.lsn), "the newest record of the log is the visible one"
            used += 1
        assert all(record.kind == 2 for record in logged.values()), "what the log has put last is visible"
        listed = {int.from_bytes(number, "big"): key for number, key in transaction.cursor(db=entries.order)}
        assert listed == orders
        assert sum(1 for _ in transaction.cursor(db=entries.expiry)) == expiring
        for lsn in images.lsns:
            image = images.image(transaction, lsn)
            if image is not None and is_large(image):
                references[reference_of(image).name] += 1
    assert store.entries_count == used
    assert set(os.listdir(Path(store.directory) / "large")) == set(references)


def test_a_killed_owner_leaves_a_whole_store(directory: str) -> None:
    chance = random.Random(20_261_124)
    turns = kills = 0
    end_s = time.monotonic() + BUDGET_S
    while kills < KILLS and time.monotonic() < end_s:
        owner = subprocess.Popen([sys.executable, "-c", OWNER, directory, str(kills)], stdout=subprocess.PIPE)
        try:
            said = told(owner, chance.uniform(0.0, 0.05))
        finally:
            owner.kill()
            owner.wait()
        turns += len(said) - 1
        audit(directory, said)
        kills += 1
    assert kills >= KILLS_MIN, f"only {kills} kills in {BUDGET_S} s: this machine is too busy to say anything"
    assert turns > kills, "the owners did next to nothing before they were killed"
