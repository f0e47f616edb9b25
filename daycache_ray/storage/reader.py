"""The store of a replica, a reader's end: any process of the node, read-only, without a message."""

from __future__ import annotations

from daycache_ray.storage.fence_page import Fence


class StoreReader:
    """A reader of one store. Threads may share it; a forked child reopens by itself."""

    directory: str
    generation: int
    begin: object
    """`env.begin` of the present generation."""
    data: object
    """Handle of the records' database: `reader.begin(reader.data).get(key)`."""
    fence: memoryview
    """Words of the fence page, see fence_page.WORD_*."""
    visited: memoryview
    """One byte per bucket: `reader.visited[crc32(key) & reader.visited_mask] = 1`."""
    visited_mask: int

    def __init__(self, directory: str) -> None:
        """Open the store in `directory`; UnavailableError when there is none that can be read."""
        raise NotImplementedError

    def get(self, key: bytes) -> bytes | None:
        """Return the record (header and payload, or its file's name) of a store key, or None."""
        raise NotImplementedError

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """Return one record or None per key, all of one moment."""
        raise NotImplementedError

    def fetch(self, key: bytes) -> tuple[bytes, bytes | memoryview] | None:
        """Return (record, value's encoded bytes); a large value is a view of its file's mapping."""
        raise NotImplementedError

    def payload(self, record: bytes) -> bytes | memoryview | None:
        """Return the encoded bytes of a record; None: its file is gone, read the record again."""
        raise NotImplementedError

    def read_fence(self) -> Fence | None:
        """Return fence words that agree, or None."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Open the present generation: `generation` and all attributes for hot paths change."""
        raise NotImplementedError

    def close(self) -> None:
        """Give everything back."""
        raise NotImplementedError


def is_record_of(record: bytes, key: bytes) -> bool:
    """Return whether a record belongs to the full user `key`, not to one with the same digest."""
    raise NotImplementedError
