"""The compaction of one store that may be under way: begun, carried on a step at a time, finished or given up."""

from __future__ import annotations

from collections.abc import Iterable

from daycache_ray.storage.compaction import Compaction
from daycache_ray.storage.directory import remove_folder
from daycache_ray.storage.generation import Generation
from daycache_ray.storage.opening import make_generation
from daycache_ray.words.records import LogRecord


class Rewriting:
    """At most one compaction of the store in `directory`. Every call is made between turns, or says what one does."""

    def __init__(self, directory: str, limit_bytes: int) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._compaction: Compaction | None = None

    def note_changes(self, records: Iterable[LogRecord]) -> None:
        """A turn applies these records."""
        if self._compaction is not None:
            self._compaction.note_changed(record.key for record in records if record.key)

    def note_cut(self, lsn: int) -> None:
        """A turn cuts the log after `lsn`."""
        if self._compaction is not None:
            self._compaction.note_cut(lsn)

    def advance(self, current: Generation, may_finish: bool) -> Generation | None:
        """Do a step of rewriting `current`; return what takes its place when it is done and may be.

        Raises:
            OSError, lmdb.Error: ENOSPC and the like; it is given up.
        """
        try:
            if self._compaction is None:
                beside = make_generation(self._directory, current.number + 1, self._limit_bytes)
                self._compaction = Compaction(current, beside)
                return None
            if self._compaction.step() or not may_finish:
                return None
            self._compaction.finish()
        except BaseException:
            self.give_up()
            raise
        successor, self._compaction = self._compaction.target, None
        return successor

    def give_up(self) -> None:
        """Forget it, and remove what was made."""
        if self._compaction is not None:
            compaction, self._compaction = self._compaction, None
            compaction.close()
            compaction.target.close()
            remove_folder(compaction.target.path)
