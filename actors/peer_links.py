"""One-way connections from a replica to the other replicas of its shard.

A link opens on first use and is forgotten when it breaks; the machine repeats what was lost. That a
link broke is told to the owner, because it is the first news of a peer's death on the same node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daycache_ray.wire.address import SocketAddress
from daycache_ray.wire.frames import peer_frame, request_frame
from daycache_ray.words.messages import PeerMessage
from daycache_ray.words.operations import PROTOCOL_VERSION, Hello
from daycache_ray.words.types import Member

WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Beyond this a peer is not keeping up; messages are dropped and repeated by the machine later."""

REOPEN_S = 0.05


class PeerLink(asyncio.Protocol):
    """The way to one incarnation of one peer."""

    def __init__(self, owner: PeerLinks, member: Member, address: SocketAddress) -> None:
        self._owner = owner
        self.member = member
        self.address = address
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._task = asyncio.get_running_loop().create_task(self._open())
        self.broken = False

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self.address.path:
                await loop.create_unix_connection(lambda: self, self.address.path)
            else:
                await loop.create_connection(lambda: self, self.address.host, self.address.port)
        except OSError:
            self.broken = True
            loop.call_later(REOPEN_S, self._owner.forget, self)

    def send(self, frame: bytes) -> None:
        """Send a frame, or keep it while the link opens."""
        transport = self._transport
        if transport is None:
            if not self.broken:
                self._waiting.append(frame)
        elif not transport.is_closing() and transport.get_write_buffer_size() < WAITING_BYTES_MAX:
            transport.write(frame)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = transport  # type: ignore[assignment]
        hello = Hello(0, PROTOCOL_VERSION, self._owner.cluster, self._owner.token, 0, "")
        frames, self._waiting = self._waiting, []
        self._transport.writelines([request_frame(hello), *frames])  # type: ignore[union-attr]

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self.broken = True
        self._owner.lost(self)

    def close(self) -> None:
        """Hang up without telling the owner."""
        self.broken = True
        self._task.cancel()
        if self._transport is not None:
            self._transport.abort()


class PeerLinks:
    """All links of one replica; `on_lost` hears of each that broke after it had been open."""

    def __init__(self, cluster: str, token: str, on_lost: Callable[[Member], None]) -> None:
        self.cluster = cluster
        self.token = token
        self._on_lost = on_lost
        self._addresses: dict[Member, SocketAddress] = {}
        self._links: dict[Member, PeerLink] = {}

    def know(self, addresses: dict[Member, SocketAddress]) -> None:
        """Take over the addresses of the present members; links to all others are closed."""
        self._addresses = addresses
        for member in [member for member in self._links if member not in addresses]:
            self._links.pop(member).close()

    def send(self, member: Member, message: PeerMessage) -> None:
        """Send a message to a member; dropped when its address is not known."""
        link = self._links.get(member)
        if link is None:
            address = self._addresses.get(member)
            if address is None:
                return
            link = self._links[member] = PeerLink(self, member, address)
        link.send(peer_frame(message))

    def lost(self, link: PeerLink) -> None:
        """Called by a link that broke."""
        if self._links.get(link.member) is link:
            del self._links[link.member]
            self._on_lost(link.member)

    def forget(self, link: PeerLink) -> None:
        """Called by a link that could not be opened; the next message tries again."""
        if self._links.get(link.member) is link:
            del self._links[link.member]

    def close(self) -> None:
        """Close all links."""
        self.know({})
