"""When a key was last asked for and how often, in bounded memory: two of the ranker's features."""

from __future__ import annotations


class Recency:
    """Age and count of at most `keys_max` keys, counted in accesses; older ones are forgotten."""

    def __init__(self, *, keys_max: int) -> None:
        assert keys_max >= 2
        self._half = keys_max // 2
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._now = 0

    def __len__(self) -> int:
        """Number of keys remembered."""
        return len(self._young) + len(self._old)

    def learn(self, key: int) -> None:
        """Count an access of `key`."""
        now = self._now = self._now + 1
        known = self._young.get(key)
        if known is None:
            known = self._old.pop(key, 0)
            if len(self._young) >= self._half:
                self._old = self._young
                self._young = {}
        count = known & 0xFF
        self._young[key] = now << 8 | (count + 1 if count < 255 else 255)

    def bucket(self, key: int) -> int:
        """Return a number 0 .. 127 for (age, count): 0 for an unknown key, else age * 8 + count, both logarithmic."""
        known = self._young.get(key) or self._old.get(key)
        if known is None:
            return 0
        age = (self._now - (known >> 8) + 1).bit_length()
        return (age if age < 15 else 15) << 3 | (known & 0xFF).bit_length() - 1
