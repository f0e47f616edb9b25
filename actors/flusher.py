"""Calls the writer of a write-behind region, in a thread of the primary's process, as long as the replica is primary.

One call at a time. A writer that takes longer than its deadline is waited for all the same, because a second call
beside it could put an older value over a newer one. Refuses to know what is tried when.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog

from daycache_ray.actors.behind import WritesBehind
from daycache_ray.actors.clocks import read_clocks
from daycache_ray.actors.requests import RequestDesk
from daycache_ray.actors.runner import Runner
from daycache_ray.origins.writing import KeyWriter, resolve_writer
from daycache_ray.storage.store import Store
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import CacheError, WriteError
from daycache_ray.words.types import Role

POLL_S_MAX: Final = 0.05
POLL_S_MIN: Final = 0.002

_log = structlog.get_logger("daycache.replica")


class Flusher:
    """One replica's flusher; idle while another is primary."""

    def __init__(self, store: Store, region: RegionConfig, runner: Runner, desk: RequestDesk) -> None:
        assert region.write_behind_s is not None
        self._store = store
        self._region = region
        self._runner = runner
        self._desk = desk
        self._writer: KeyWriter | None = None
        self._poll_s = min(POLL_S_MAX, max(POLL_S_MIN, region.write_behind_s / 4))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="daycache-writer")
        self._epoch = 0
        self._draining = False
        self._said = ""

    async def run(self) -> None:
        """Write what is due, for ever."""
        while True:
            behind = self._behind()
            batch = behind.next_batch(self._runner.machine.held_lsn, read_clocks().boot_ns) if behind else None
            if behind is None or batch is None:
                await asyncio.sleep(self._poll_s)
                continue
            problem = batch.problem or await self._call(batch.values)
            self._say(problem)
            message = behind.ended(problem, read_clocks().boot_ns)
            if message is not None:
                self._runner.post(message)
                await asyncio.sleep(0)  # the turn that marks them clean

    async def drain(self, deadline_s: float) -> int:
        """Write at once what waits; return what is left when nothing more goes, or the time is over."""
        end_s = asyncio.get_running_loop().time() + deadline_s
        self._draining = True
        while asyncio.get_running_loop().time() < end_s:
            behind = self._behind()
            if behind is None or self._store.dirty_count <= len(behind.machine.dead):
                break
            await asyncio.sleep(self._poll_s)
        return self._store.dirty_count if self._behind() is not None else 0

    def figures(self) -> dict[str, Any]:
        """Return the fields of ShardStatistics that are about this."""
        behind = self._desk.behind
        if behind is None:
            return {}
        return {
            "dirty_age_s": behind.age_s(read_clocks().boot_ns),
            "dead_letters_count": len(behind.machine.dead),
            "written_behind_count": behind.machine.written_count,
            "write_failures_count": behind.machine.failures_count,
        }

    def _behind(self) -> WritesBehind | None:
        """Return the tries of this replica's present time as primary; None while it may not answer alone."""
        machine, now_ns = self._runner.machine, read_clocks().boot_ns
        if machine.role != Role.PRIMARY:
            self._desk.behind = None
            return None
        if self._desk.behind is None or self._epoch != machine.epoch:
            self._epoch = machine.epoch
            self._desk.behind = WritesBehind(self._store, self._region, now_ns, random.Random())
        self._desk.behind.machine.draining = self._draining
        # Without the lease another may be primary, and write newer versions of the same keys.
        return self._desk.behind if now_ns < machine.lease_until_ns else None

    async def _call(self, values: Mapping[str, Any]) -> BaseException | None:
        try:
            if self._writer is None:
                self._writer = resolve_writer(self._region.writer)
            writer, deadline_s = self._writer, self._region.write_deadline_s
            call = asyncio.get_running_loop().run_in_executor(self._thread, writer.write_many, values)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(call), deadline_s)
                return None
            self._say(WriteError(f"{writer!r} has not answered for {deadline_s:g} s; it is waited for"))
            await call
        except CacheError as error:
            return error
        except Exception as error:
            return WriteError(f"{type(error).__name__}: {error}")
        return None

    def _say(self, problem: BaseException | None) -> None:
        """Log a problem once, not with every try."""
        text = "" if problem is None else str(problem)
        if text and text != self._said:
            _log.warning("writer failed", region=self._region.name, reason=text)
        self._said = text
