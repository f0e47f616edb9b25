"""A loader in an envelope: it travels through actors that need not be able to import it."""

from __future__ import annotations

import pickle
from typing import Any


class SealedLoader:
    """A pickled loader that came from the process that started the cluster, and only by way of Ray."""

    __slots__ = ("_opened", "_payload")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._opened: Any = None

    @classmethod
    def seal(cls, loader: Any) -> SealedLoader:
        """Return the envelope of `loader`; one that is sealed already is returned as it is."""
        if isinstance(loader, SealedLoader):
            return loader
        # Ray's own copy is there wherever Ray is. Late, because loaders are resolved without Ray, too.
        from ray import cloudpickle

        return cls(cloudpickle.dumps(loader))

    def open(self) -> Any:
        """Return the loader, unpickled once per envelope; raises what its imports raise."""
        if self._opened is None:
            self._opened = pickle.loads(self._payload)
        return self._opened

    def __reduce__(self) -> tuple[type[SealedLoader], tuple[bytes]]:
        return SealedLoader, (self._payload,)

    def __repr__(self) -> str:
        return f"<SealedLoader {len(self._payload)} B>"
