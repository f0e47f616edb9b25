"""When what waits goes to its origin, what is tried again and when, and what is given up: the write-behind machine.

The queue itself is in the store: a dirty entry waits until a CLEAN record names exactly its version. So it is as
replicated as the log, and this machine may forget everything: what it keeps is only how the tries went.

One batch is under way at a time, so a key's versions reach the origin in order; a version that was overwritten
meanwhile is never written. A batch that fails is halved until one item is alone. An item that fails alone steps aside
for the others; a failure counts against it only when the origin has taken something else since, for otherwise the
origin is down and the item is not to blame. What fails `attempts_max` times, or for good, becomes a dead letter: it
stays dirty in the store, and is tried again when somebody says so or when its key is written anew.

Refuses to know values, writers and clocks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import random

MS: Final = 1_000_000
MARKS_MAX: Final = 1024
"""Moments that are remembered to tell ages; beyond it every second one is forgotten."""


class WriteBehindSettings(NamedTuple):
    """Times in nanoseconds of CLOCK_BOOTTIME. `delay_ns`: how long a write may wait for others to share its batch."""

    delay_ns: int
    batch_max: int = 500
    attempts_max: int = 8
    pause_ns: int = 50 * MS
    """First pause after a failure; doubles up to `pause_max_ns`, each shortened by up to half at random."""
    pause_max_ns: int = 5_000 * MS
    dead_letters_max: int = 1_000
    """With so many the queue stands still: who fills it must be looked after."""


class Item(NamedTuple):
    """One version of one key, as it stands in the store."""

    key: bytes
    epoch: int
    lsn: int


class DeadWrite(NamedTuple):
    """A version that was given up, and why."""

    item: Item
    error: str
    attempts_count: int


class _Suspect(NamedTuple):
    """An item that failed alone: it is tried again at `retry_ns`."""

    item: Item
    attempts_count: int
    successes_seen: int
    retry_ns: int


class WriteBehind:
    """The tries of one primary. Ask `wanted_count`, offer what waits to `take`, and say how it went."""

    def __init__(self, settings: WriteBehindSettings, rng: random.Random, hold_until_ns: int = 0) -> None:
        """`hold_until_ns`: nothing is tried before; a former primary's last try may still be under way."""
        assert settings.batch_max >= 1
        self.settings = settings
        self._rng = rng
        self._size = settings.batch_max
        self._failures_in_a_row = 0
        self._try_at_ns = hold_until_ns
        self._suspects: dict[bytes, _Suspect] = {}
        self._marks: list[tuple[int, int]] = []
        self._in_flight: tuple[Item, ...] = ()
        self.dead: dict[bytes, DeadWrite] = {}
        self.draining = False
        """Nothing waits for others to share its batch."""
        self.written_count = 0
        self.failures_count = 0

    def note(self, newest_lsn: int, now_ns: int) -> None:
        """Versions up to `newest_lsn` are there now: that is where their age counts from."""
        marks = self._marks
        if not marks or newest_lsn > marks[-1][0]:
            marks.append((newest_lsn, now_ns))
            if len(marks) > MARKS_MAX:
                del marks[1:-1:2]

    def age_ns(self, oldest_lsn: int, now_ns: int) -> int:
        """Return how long the version at `oldest_lsn` has been known here."""
        place = bisect_left(self._marks, (oldest_lsn, 0))
        return max(0, now_ns - self._marks[place][1]) if place < len(self._marks) else 0

    def wanted_count(self, now_ns: int) -> int:
        """Return how many items `take` wants to see at most, the oldest first; 0: it wants none now."""
        if self._in_flight or now_ns < self._try_at_ns or len(self.dead) >= self.settings.dead_letters_max:
            return 0
        return self.settings.batch_max + len(self.dead) + len(self._suspects)

    def take(self, waiting: Sequence[Item], now_ns: int) -> tuple[Item, ...]:
        """Return the batch to write now, of what waits, the oldest first; empty: not yet."""
        assert not self._in_flight, "a batch is under way"
        if waiting:
            # Ages of what has been written are nobody's concern any more.
            del self._marks[: bisect_left(self._marks, (waiting[0].lsn, 0))]
        ready = [item for item in waiting if self._is_ready(item, now_ns)]
        if not ready:
            return ()
        is_due = self.draining or len(ready) >= self.settings.batch_max or self._failures_in_a_row > 0
        if not is_due and self.age_ns(ready[0].lsn, now_ns) < self.settings.delay_ns:
            return ()
        # Who failed alone is tried alone, and after a failure the others come first: only they can show that the
        # origin is up.
        fresh = [item for item in ready if item.key not in self._suspects]
        if fresh and (self._failures_in_a_row > 0 or len(fresh) == len(ready)):
            self._in_flight = tuple(fresh[: self._size])
        else:
            suspects = [suspect for item in ready if (suspect := self._suspects.get(item.key)) is not None]
            self._in_flight = (min(suspects, key=lambda suspect: suspect.retry_ns).item,)
        return self._in_flight

    def _is_ready(self, item: Item, now_ns: int) -> bool:
        dead = self.dead.get(item.key)
        if dead is not None:
            if dead.item == item:
                return False
            del self.dead[item.key]
        suspect = self._suspects.get(item.key)
        if suspect is not None:
            if suspect.item == item:
                return now_ns >= suspect.retry_ns
            del self._suspects[item.key]
        return True

    def succeeded(self) -> tuple[Item, ...]:
        """The origin took the batch; return what is clean now."""
        batch, self._in_flight = self._in_flight, ()
        assert batch, "no batch is under way"
        self.written_count += len(batch)
        self._failures_in_a_row = 0
        self._size = min(self.settings.batch_max, self._size * 2)
        for item in batch:
            self._suspects.pop(item.key, None)
        return batch

    def failed(self, error: str, now_ns: int, *, is_permanent: bool) -> None:
        """The writer raised, or did not come back; `is_permanent`: trying again cannot help."""
        batch, self._in_flight = self._in_flight, ()
        assert batch, "no batch is under way"
        self.failures_count += 1
        self._failures_in_a_row += 1
        if len(batch) > 1:
            self._size = len(batch) // 2
            self._try_at_ns = now_ns if is_permanent else now_ns + self._pause_ns(1)
            return
        (item,) = batch
        known = self._suspects.pop(item.key, None)
        attempts_count = known.attempts_count if known is not None else 0
        if known is None or known.successes_seen < self.written_count:
            attempts_count += 1
        if is_permanent or attempts_count >= self.settings.attempts_max:
            self.dead[item.key] = DeadWrite(item, error, attempts_count)
            self._failures_in_a_row = 0
            self._try_at_ns = now_ns
            return
        self._try_at_ns = now_ns + self._pause_ns(self._failures_in_a_row)
        retry_ns = now_ns + self._pause_ns(attempts_count)
        self._suspects[item.key] = _Suspect(item, attempts_count, self.written_count, retry_ns)

    def retry(self, keys: Sequence[bytes]) -> int:
        """Try dead letters again; return how many there were."""
        found = [key for key in keys if self.dead.pop(key, None) is not None]
        for key in found:
            self._suspects.pop(key, None)
        return len(found)

    def drop(self, keys: Sequence[bytes]) -> tuple[Item, ...]:
        """Give dead letters up for good; return what counts as clean from now on."""
        return tuple(self.dead.pop(key).item for key in keys if key in self.dead)

    def _pause_ns(self, count: int) -> int:
        pause = min(self.settings.pause_max_ns, self.settings.pause_ns << min(count - 1, 20))
        return int(pause * (1.0 - self._rng.random() / 2))
