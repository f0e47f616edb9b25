"""The thread that sends what WEAK writes left in the buffers: 64 at once, or what there is after 1 ms.

It sleeps while nothing waits. `close` sends the rest; so does the end of the process.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Final

from daycache_ray.client.weak_writes import FLUSH_S
from daycache_ray.words.errors import CacheError

END_S: Final = 5.0


class Flusher:
    """Calls `flush` soon after `wake`, from one thread that begins with the first `wake`."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._something = threading.Event()
        self._much = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self, now: bool) -> None:
        """Something waits; `now`: send it at once."""
        if self._thread is None:
            with self._lock:
                self._begin()
        if now:
            self._much.set()
        self._something.set()

    def close(self) -> None:
        """Send the rest and end the thread."""
        with self._lock:
            self._closed.set()
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            self._much.set()
            self._something.set()
            thread.join(END_S)
        with contextlib.suppress(CacheError):
            self._flush()

    def abandon(self) -> None:
        """In a forked child: the thread does not exist here."""
        self._closed.set()
        self._thread = None

    def _begin(self) -> None:
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._run, name="daycache-weak-writes", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._something.wait()
            self._something.clear()
            self._much.wait(FLUSH_S)
            self._much.clear()
            # What could not be sent is counted by the buffer; the thread goes on for the next.
            with contextlib.suppress(CacheError):
                self._flush()
