"""Where a socket is: a path on this node, else a host and port."""

from __future__ import annotations

from typing import NamedTuple

from daycache_ray.words.cluster_map import MemberAddress


class SocketAddress(NamedTuple):
    """A Unix socket's `path`, or `host` and `port` where the path is empty."""

    path: str
    host: str
    port: int

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def address_of(member: MemberAddress, node_id: str) -> SocketAddress:
    """Return the shorter way from `node_id` to a member: its Unix socket where both share a node."""
    if member.node_id == node_id:
        return SocketAddress(member.socket_path, "", 0)
    return SocketAddress("", member.host, member.port)
