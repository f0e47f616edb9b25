"""Which generation of a store is the present one, and what becomes of the others when it is opened."""

from __future__ import annotations

import os
import shutil
import threading

import lmdb

from daycache_ray.storage import directory as directories
from daycache_ray.storage.generation import Generation
from daycache_ray.storage.large_values import LargeValues


def make_generation(directory: str, number: int, limit_bytes: int) -> Generation:
    """Open generation `number` of the store in `directory`, or make an empty, incomplete one."""
    path = directories.generation_path(directory, number)
    is_new = not os.path.exists(path)
    try:
        return Generation(path, number, limit_bytes, LargeValues(os.path.join(directory, directories.LARGE_NAME)))
    except BaseException:
        if is_new:
            shutil.rmtree(path, ignore_errors=True)
        raise


def open_newest(directory: str, limit_bytes: int) -> Generation:
    """Open the newest complete generation, or the first one of a new store; remove all others."""
    chosen: Generation | None = None
    numbers = directories.generations(directory)
    for number in reversed(numbers):
        if chosen is None:
            try:
                generation = make_generation(directory, number, limit_bytes)
            except (OSError, lmdb.Error):
                # A copy that broke off so early that it is no environment; nobody was told of anything in it.
                if number == numbers[0]:
                    raise
            else:
                if generation.state.is_complete:
                    chosen = generation
                    continue
                generation.close()
        directories.remove_folder(directories.generation_path(directory, number))
    if chosen is None:
        # Not from 1: a reader that slept while the store was wiped must not find the number it knows.
        chosen = make_generation(directory, int.from_bytes(os.urandom(4), "big") + 1, limit_bytes)
        chosen.begin()
        chosen.state.is_complete = True
        chosen.end_turn()
    chosen.remove_unmeant_files()
    return chosen


class Closer:
    """Closes generations that were replaced: a gigabyte takes half a second to unmap, and its owner's turns go on."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def close(self, generation: Generation) -> None:
        """Close one, off this thread; nobody uses it any more."""
        self.join()
        self._thread = threading.Thread(target=generation.close, name="daycache-close")
        self._thread.start()

    def join(self) -> None:
        """Wait until all are closed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
