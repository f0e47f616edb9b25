"""Performs the steps of exchanges for threads: a pool of greeted sockets per replica.

A thread takes a connection for one call and puts it back, so there are as many as there were calls at
the same time. Refuses to know what is said.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain
from typing import Any, TypeVar

from daycache_ray.client.driving import drive, run_each
from daycache_ray.client.exchanges import Call, Exchange, Finish, Load, Spawn, Step, Tell, Unfinished
from daycache_ray.client.loader_threads import hung, in_background, is_done, start_load
from daycache_ray.client.router import Router
from daycache_ray.client.session import Session
from daycache_ray.wire.address import SocketAddress, address_of
from daycache_ray.wire.connection import Connection
from daycache_ray.words.cluster_map import MemberAddress
from daycache_ray.words.errors import CacheError, UnknownOutcomeError
from daycache_ray.words.naming import NAMESPACE

T = TypeVar("T")


class Channels:
    """The connections of one session; threads share them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._idle: dict[SocketAddress, list[Connection]] = {}
        self._map_version = -1

    def run(self, exchange: Exchange[T]) -> T:
        """Perform an exchange to its end; raises what it raises."""
        return drive(exchange, self._perform)

    def run_all(self, exchanges: Iterable[Exchange[dict[Any, Any]]]) -> dict[Any, Any]:
        """Perform exchanges that each give a part of a dict; the first error is raised when all were tried."""
        return run_each(self.run, exchanges)

    def actor_handle(self, name: str) -> Any:
        """Return the handle of a replica's actor."""
        import ray

        return ray.get_actor(name, namespace=NAMESPACE)

    def close(self) -> None:
        """Hang up."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Call):
            return self._call(step)
        if isinstance(step, Tell):
            return self._tell(step)
        if isinstance(step, Load):
            unfinished = Unfinished(step, start_load(step.loader, step.keys))
            if step.soft_s is None:
                return _finish(unfinished, step.deadline_s)
            return unfinished.work.result() if is_done(unfinished.work, step.soft_s) else unfinished
        if isinstance(step, Finish):
            return _finish(step.unfinished, step.deadline_s)
        if isinstance(step, Spawn):
            return in_background(lambda: self.run(step.exchange))
        if step.wakes:
            self._session.wait_newer(step.map_version, step.seconds)
        else:
            time.sleep(step.seconds)
        return None

    def _call(self, step: Call) -> Any:
        connection = self._take(step.member, step.attempt_s)
        try:
            answer = connection.call(step.build(connection.next_id()), step.attempt_s)
        except UnknownOutcomeError:
            # The others to that replica are as old as this one: whatever broke it broke them.
            self._drop(connection.address)
            raise
        except CacheError:
            self._put_back(connection)
            raise
        except BaseException:
            # Its answer is still to come, and nobody would know whose it is.
            connection.close()
            raise
        self._put_back(connection)
        return answer

    def _tell(self, step: Tell) -> None:
        try:
            connection = self._take(step.member, 1.0)
            connection.send(step.build(connection.next_id()))
        except CacheError:
            return
        self._put_back(connection)

    def _take(self, member: MemberAddress, deadline_s: float) -> Connection:
        session = self._session
        router = session.router
        if router.cluster_map.version != self._map_version:
            self._map_version = router.cluster_map.version
            known = addresses_in(router)
            for gone in [address for address in list(self._idle) if address not in known]:
                self._drop(gone)
        address = address_of(member, router.node_id)
        idle = self._idle.get(address)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:
                break
            if not connection.closed:
                return connection
        cluster_map = router.cluster_map
        return Connection.open(
            address,
            cluster=cluster_map.name,
            token=cluster_map.token,
            client=session.client,
            service=session.service,
            deadline_s=deadline_s,
        )

    def _put_back(self, connection: Connection) -> None:
        if self._session.closed_because:
            connection.close()
        elif not connection.closed:
            self._idle.setdefault(connection.address, []).append(connection)

    def _drop(self, address: SocketAddress) -> None:
        for connection in self._idle.pop(address, []):
            connection.close()


def _finish(unfinished: Unfinished, deadline_s: float) -> Any:
    load, work = unfinished
    if not is_done(work, deadline_s):
        raise hung(load.loader, len(load.keys), load.deadline_s)
    return work.result()


def addresses_in(router: Router) -> set[SocketAddress]:
    """Return where the members of a map listen, as seen from its node."""
    shards = chain.from_iterable(router.cluster_map.shards.values())
    return {address_of(member, router.node_id) for shard in shards for member in shard.members}
