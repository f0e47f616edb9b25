"""Runs a loader for a caller that waits no longer than its deadline, whatever the loader does.

A loader that hangs keeps its thread until it comes back; its late answer is thrown away.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any

from daycache_ray.origins.loading import KeyLoader
from daycache_ray.words.errors import CacheError, LoadError


def start_load(loader: KeyLoader, keys: Sequence[str]) -> Future[dict[str, Any]]:
    """Begin to ask the origin for `keys` in a thread, in the caller's context."""
    future: Future[dict[str, Any]] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(loader.load_many, keys))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="daycache-load", daemon=True).start()
    return future


def is_done(future: Future[dict[str, Any]], seconds: float) -> bool:
    """Wait for a load, and return whether it is over."""
    return bool(wait((future,), seconds).done)


def in_background(work: Callable[[], object]) -> None:
    """Do something in a thread of its own, without the caller's context; its errors are nobody's."""

    def run() -> None:
        try:
            work()
        except CacheError:
            pass

    threading.Thread(target=run, name="daycache-behind", daemon=True).start()


def hung(loader: KeyLoader, key_count: int, deadline_s: float) -> LoadError:
    """Return the error for a loader that did not come back."""
    what = "1 key" if key_count == 1 else f"{key_count} keys"
    return LoadError(f"{loader!r} did not answer for {what} within {deadline_s:.3g} s")
