"""What uncommitted records replaced, so that cutting the log can put it back (rule R21).

`undo`: LSN -> u16 key length, store key, the record that was visible before (nothing: none was).

An image lives from the turn that applies its record to the turn that commits it. Within a turn it stays in memory:
a record that is applied and committed in one turn, as on a region with one copy, never writes it.
"""

from __future__ import annotations

import struct
from bisect import bisect_right, insort
from typing import Final

import lmdb

from daycache_ray.storage.large_values import LargeValues, is_large, reference_of

_LSN: Final = struct.Struct(">Q")
_KEY_LENGTH: Final = struct.Struct("<H")


class BeforeImages:
    """The before-images of one generation; `chains` has the uncommitted LSNs of a key, oldest first."""

    def __init__(self, environment: lmdb.Environment, large: LargeValues) -> None:
        self.undo = environment.open_db(b"undo")
        self.counts = environment.open_db(b"large")
        self._large = large
        self.chains: dict[bytes, list[int]] = {}
        self.lsns: list[int] = []
        """Of all images, ascending."""
        self._keys: dict[int, bytes] = {}
        self.fresh: dict[int, bytes | None] = {}
        """Images of the open turn, which `write` puts into the store."""
        self._written: set[int] = set()

    def __len__(self) -> int:
        return len(self.lsns)

    def load(self, transaction: lmdb.Transaction[bytes]) -> None:
        """Learn what stands in the store, and forget what does not: after opening and after an aborted turn."""
        self.chains.clear()
        self.lsns.clear()
        self._keys.clear()
        self.fresh.clear()
        self._written.clear()
        with transaction.cursor(db=self.undo) as cursor:
            for place, stored in cursor.iternext():
                lsn = int(_LSN.unpack(place)[0])
                self._written.add(lsn)
                self._list(lsn, _split(stored)[0])

    def note(self, transaction: lmdb.Transaction[bytes], lsn: int, key: bytes, image: bytes | None) -> None:
        """Keep what was visible before the record at `lsn`."""
        self._list(lsn, key)
        self.fresh[lsn] = image
        if image is not None and is_large(image):
            self._large.hold(transaction, self.counts, reference_of(image))

    def image(self, transaction: lmdb.Transaction[bytes], lsn: int) -> bytes | None:
        """Return what was visible before the record at `lsn`."""
        if lsn in self.fresh:
            return self.fresh[lsn]
        stored = transaction.get(_LSN.pack(lsn), db=self.undo)
        assert stored is not None, f"no before-image of LSN {lsn}"
        return _split(stored)[1]

    def change(self, transaction: lmdb.Transaction[bytes], lsn: int, image: bytes | None) -> None:
        """Put another image in place: a record with a lower LSN was applied under this one."""
        former = self.image(transaction, lsn)
        if image is not None and is_large(image):
            self._large.hold(transaction, self.counts, reference_of(image))
        self.fresh[lsn] = image
        if former is not None and is_large(former):
            self._large.drop(transaction, self.counts, reference_of(former))

    def newest_above(self, lsn: int) -> tuple[int, bytes] | None:
        """Return LSN and key of the newest image if it is above `lsn`."""
        if not self.lsns or self.lsns[-1] <= lsn:
            return None
        newest = self.lsns[-1]
        return newest, self._keys[newest]

    def newest_lsn(self) -> int:
        """Return the LSN of the newest image, 0 when there is none."""
        return self.lsns[-1] if self.lsns else 0

    def drop(self, transaction: lmdb.Transaction[bytes], lsn: int) -> None:
        """Forget one image."""
        self.lsns.remove(lsn)
        self._forget(transaction, lsn)

    def drop_through(self, transaction: lmdb.Transaction[bytes], lsn: int) -> int:
        """Forget all images up to `lsn`, whose records are committed, and return the LSN of the newest, or 0."""
        end = bisect_right(self.lsns, lsn)
        committed = self.lsns[:end]
        for forgotten in committed:
            self._forget(transaction, forgotten)
        del self.lsns[:end]
        return committed[-1] if committed else 0

    def write(self, transaction: lmdb.Transaction[bytes]) -> None:
        """Put the images of this turn that are still needed into the store."""
        for lsn, image in self.fresh.items():
            key = self._keys[lsn]
            transaction.put(_LSN.pack(lsn), _KEY_LENGTH.pack(len(key)) + key + (image or b""), db=self.undo)
            self._written.add(lsn)
        self.fresh.clear()

    def _forget(self, transaction: lmdb.Transaction[bytes], lsn: int) -> None:
        image = self.image(transaction, lsn)
        self.fresh.pop(lsn, None)
        if lsn in self._written:
            self._written.discard(lsn)
            transaction.delete(_LSN.pack(lsn), db=self.undo)
        self._unlist(lsn)
        if image is not None and is_large(image):
            self._large.drop(transaction, self.counts, reference_of(image))

    def _list(self, lsn: int, key: bytes) -> None:
        if self.lsns and lsn < self.lsns[-1]:
            insort(self.lsns, lsn)
        else:
            self.lsns.append(lsn)
        self._keys[lsn] = key
        chain = self.chains.get(key)
        if chain is None:
            self.chains[key] = [lsn]
        else:
            insort(chain, lsn)

    def _unlist(self, lsn: int) -> None:
        key = self._keys.pop(lsn)
        chain = self.chains[key]
        if len(chain) == 1:
            del self.chains[key]
        else:
            chain.remove(lsn)


def _split(stored: bytes) -> tuple[bytes, bytes | None]:
    end = 2 + int(_KEY_LENGTH.unpack_from(stored)[0])
    return stored[2:end], stored[end:] or None
