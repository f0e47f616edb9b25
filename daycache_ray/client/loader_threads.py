"""Runs a loader for a caller that waits no longer than its deadline, whatever the loader does.

A loader that hangs keeps its thread until it comes back; its late answer is thrown away.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from daycache_ray.origins.loading import KeyLoader
from daycache_ray.words.errors import LoadError


def load_within(loader: KeyLoader, keys: Sequence[str], deadline_s: float) -> dict[str, Any]:
    """Return what the origin has of `keys`.

    Raises:
        LoadError: the loader raised (then it is `__cause__`), or took longer than `deadline_s`.
    """
    future: Future[dict[str, Any]] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(loader.load_many, keys))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="daycache-load", daemon=True).start()
    try:
        return future.result(deadline_s)
    except FutureTimeoutError:
        if future.done():
            raise
        raise hung(loader, len(keys), deadline_s) from None


def hung(loader: KeyLoader, key_count: int, deadline_s: float) -> LoadError:
    """Return the error for a loader that did not come back."""
    what = "1 key" if key_count == 1 else f"{key_count} keys"
    return LoadError(f"{loader!r} did not answer for {what} within {deadline_s:.3g} s")
