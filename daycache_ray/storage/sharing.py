"""What the services are guaranteed of one store: the shares by account, and the questions that need them.

Refuses to know where a share comes from, and what is done when there is no room.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import lmdb

from daycache_ray.storage.entries import Entries, Item
from daycache_ray.storage.queues import Asked
from daycache_ray.storage.state import State
from daycache_ray.storage.visited_page import VisitedPage
from daycache_ray.structures.eviction.shares import Promised, reserved_bytes
from daycache_ray.words.types import Eviction


class Writer(NamedTuple):
    """Who needs room, and what was proposed in the same turn already."""

    service: bytes
    coming_bytes: int = 0
    promised: Promised | None = None


NOBODY: Final = Writer(b"")


class Sharing:
    """The shares of one store's services, in bytes; empty where nobody is guaranteed anything."""

    def __init__(self, shares: Mapping[bytes, int], entries: Entries, visited: VisitedPage, eviction: Eviction) -> None:
        """Give every service that has a share an account in `entries`.

        Raises:
            StoreFormatError: the store has known too many services.
        """
        entries.know(sorted(shares))
        self.share_bytes = {entries.account_of(service): size for service, size in shares.items()}
        self._visited = visited
        self._has_young = eviction == "two_hands"

    def victims(
        self,
        reading: lmdb.Transaction[bytes],
        entries: Entries,
        bytes_needed: int,
        count_max: int,
        writer: Writer,
    ) -> list[Item]:
        """Return what goes, as Store.victims says."""
        account = entries.account_of(writer.service)
        promised = Promised() if writer.promised is None else writer.promised
        asked = Asked(bytes_needed, count_max, account, writer.coming_bytes, self.share_bytes, promised)
        return entries.victims(reading, self._visited, asked, has_young=self._has_young)

    def reserved_bytes(self, state: State, entries: Entries, writer: bytes) -> int:
        """Return what services other than `writer` are guaranteed and do not use."""
        used = {account: state.used_of(account) for account in self.share_bytes}
        return reserved_bytes(used, self.share_bytes, entries.account_of(writer))
