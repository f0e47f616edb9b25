"""Who was visited since a hand came by: exactly, or as processes can share it, a byte for a bucket of keys."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from daycache_ray.structures.eviction.policy import Key

Marked = TypeVar("Marked", bound=Hashable, contravariant=True)


class Marks(Protocol[Marked]):
    """One bit a key, set by who reads and cleared by who evicts."""

    def touch(self, key: Marked) -> None:
        """Note that a key was used."""

    def take(self, key: Marked) -> bool:
        """Return whether a key was used since the last call, and forget it."""


class ExactMarks(Generic[Key]):
    """A mark for each key.

    >>> marks = ExactMarks()
    >>> marks.touch(1)
    >>> marks.take(1), marks.take(1)
    (True, False)
    """

    def __init__(self) -> None:
        self._visited: set[Key] = set()
        self.touch = self._visited.add

    def take(self, key: Key) -> bool:
        """Return whether a key was used since the last call, and forget it."""
        if key in self._visited:
            self._visited.remove(key)
            return True
        return False


class SharedMarks(Generic[Key]):
    """A byte for each of `buckets`, as in the page that the readers of a node share: two keys may have one.

    >>> marks = SharedMarks(hash_of=lambda key: key, buckets=4)
    >>> marks.touch(1)
    >>> marks.take(5), marks.take(1)
    (True, False)
    """

    def __init__(self, *, hash_of: Callable[[Key], int], buckets: int) -> None:
        """`hash_of` gives well-mixed bits; `buckets` is a power of two."""
        assert buckets >= 1 and buckets & (buckets - 1) == 0
        self._hash_of = hash_of
        self._bytes = bytearray(buckets)
        self._mask = buckets - 1

    def touch(self, key: Key) -> None:
        """Note that a key was used."""
        self._bytes[self._hash_of(key) & self._mask] = 1

    def take(self, key: Key) -> bool:
        """Return whether a key of this bucket was used since the last call, and forget it."""
        place = self._hash_of(key) & self._mask
        if self._bytes[place]:
            self._bytes[place] = 0
            return True
        return False
