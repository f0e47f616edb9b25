"""Where prefetched keys wait for their first use: oldest prediction out first, never in the way of used ones."""

from __future__ import annotations


class Probation:
    """Keys that were loaded before anybody asked, at most `keys_max` of them.

    >>> waiting = Probation(keys_max=1)
    >>> waiting.insert(1), waiting.insert(2), waiting.take(2), waiting.take(2)
    (None, 1, True, False)
    """

    def __init__(self, *, keys_max: int) -> None:
        assert keys_max >= 1
        self._keys_max = keys_max
        self._keys: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def insert(self, key: int) -> int | None:
        """Hold a prefetched key; return the one that had to go for it unused, or None."""
        assert key not in self._keys
        gone = None
        if len(self._keys) >= self._keys_max:
            gone = next(iter(self._keys))
            del self._keys[gone]
        self._keys[key] = None
        return gone

    def renew(self, key: int) -> None:
        """Let a key that waits here, and was predicted again, go after all others."""
        del self._keys[key]
        self._keys[key] = None

    def take(self, key: int) -> bool:
        """Remove a key because somebody asked for it; False when it is not here."""
        if key not in self._keys:
            return False
        del self._keys[key]
        return True
