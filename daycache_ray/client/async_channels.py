"""Performs the steps of exchanges for one asyncio event loop: one socket per replica, shared by all tasks.

Refuses to know what is said.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable
from typing import Any, TypeVar

from daycache_ray.client.channels import addresses_in
from daycache_ray.client.driving import adrive, arun_each
from daycache_ray.client.exchanges import Call, Exchange, Finish, Load, Spawn, Step, Tell, Unfinished
from daycache_ray.client.loader_threads import hung
from daycache_ray.client.session import Session
from daycache_ray.wire.address import SocketAddress, address_of
from daycache_ray.wire.async_connection import AsyncConnection
from daycache_ray.words.cluster_map import MemberAddress
from daycache_ray.words.errors import CacheError, UnknownOutcomeError
from daycache_ray.words.naming import NAMESPACE

T = TypeVar("T")

LATE_S = 60.0
"""How long a late answer is waited for that would have to be undone."""


class AsyncChannels:
    """The connections of one session on one event loop."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connections: dict[SocketAddress, AsyncConnection] = {}
        self._opening: dict[SocketAddress, asyncio.Lock] = {}
        self._map_version = -1
        self._background: set[asyncio.Task[None]] = set()

    async def run(self, exchange: Exchange[T]) -> T:
        """Perform an exchange to its end; raises what it raises, cancellation included."""
        return await adrive(exchange, self._perform)

    async def run_all(self, exchanges: Iterable[Exchange[dict[Any, Any]]]) -> dict[Any, Any]:
        """Perform exchanges at the same time that each give a part of a dict; one of their errors is raised."""
        return await arun_each(self.run, exchanges)

    async def actor_handle(self, name: str) -> Any:
        """Return the handle of a replica's actor."""
        import ray

        return await asyncio.to_thread(ray.get_actor, name, namespace=NAMESPACE)

    async def close(self) -> None:
        """Hang up."""
        for task in self._background:
            task.cancel()
        connections, self._connections = self._connections, {}
        for connection in connections.values():
            connection.close()
        # The loop must run once for the transports to close their sockets.
        await asyncio.sleep(0)

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Call):
            return await self._call(step)
        if isinstance(step, Tell):
            return await self._tell(step)
        if isinstance(step, Load):
            work = asyncio.ensure_future(step.loader.aload_many(step.keys))
            return await self._load(Unfinished(step, work), step.deadline_s, step.soft_s)
        if isinstance(step, Finish):
            return await self._load(step.unfinished, step.deadline_s, None)
        if isinstance(step, Spawn):
            return self._in_background(step.exchange)
        await self._pause(step.seconds, step.map_version if step.wakes else None)
        return None

    async def _call(self, step: Call) -> Any:
        connection = await self._connection(step.member, step.attempt_s)
        request = step.build(connection.next_id())
        if step.undo is None:
            return await connection.call(request, step.attempt_s)
        # Shielded: when the caller gives up, its answer must still be heard, and undone.
        call = asyncio.ensure_future(connection.call(request, step.attempt_s + LATE_S))
        try:
            return await asyncio.wait_for(asyncio.shield(call), step.attempt_s)
        except asyncio.TimeoutError:
            self._undo_later(step, connection, call)
            raise UnknownOutcomeError(f"no answer from {connection.address} within {step.attempt_s:.3f} s") from None
        except asyncio.CancelledError:
            self._undo_later(step, connection, call)
            raise

    def _undo_later(self, step: Call, connection: AsyncConnection, call: asyncio.Future[Any]) -> None:
        async def undo() -> None:
            assert step.undo is not None
            try:
                build = step.undo(await call)
                if build is not None:
                    connection.send(build(connection.next_id()))
            except CacheError:
                pass  # its connection is gone, and with it whatever it was granted

        task = asyncio.ensure_future(undo())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _tell(self, step: Tell) -> None:
        try:
            connection = await self._connection(step.member, 1.0)
            connection.send(step.build(connection.next_id()))
        except CacheError:
            pass

    async def _load(self, unfinished: Unfinished, deadline_s: float, soft_s: float | None) -> Any:
        load, work = unfinished
        try:
            # Where the load may go on without this caller, a deadline must not cancel it.
            if soft_s is not None:
                done, _ = await asyncio.wait((work,), timeout=soft_s)
                return work.result() if done else unfinished
            return await asyncio.wait_for(work, deadline_s)
        except asyncio.TimeoutError:
            raise hung(load.loader, len(load.keys), load.deadline_s) from None
        except asyncio.CancelledError:
            work.cancel()
            raise

    def _in_background(self, exchange: Exchange[None]) -> None:
        async def work() -> None:
            try:
                await self.run(exchange)
            except CacheError:
                pass

        # Without the caller's context: who loads behind a loader is not inside it.
        task = contextvars.Context().run(asyncio.ensure_future, work())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _pause(self, seconds: float, map_version: int | None) -> None:
        if map_version is None:
            await asyncio.sleep(seconds)
            return
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        wake = self._session.call_on_map(map_version, lambda: loop.call_soon_threadsafe(changed.set))
        try:
            await asyncio.wait_for(changed.wait(), seconds)
        except asyncio.TimeoutError:
            pass
        finally:
            self._session.forget_call(wake)

    async def _connection(self, member: MemberAddress, deadline_s: float) -> AsyncConnection:
        session = self._session
        router = session.router
        if router.cluster_map.version != self._map_version:
            self._map_version = router.cluster_map.version
            known = addresses_in(router)
            for gone in [address for address in self._connections if address not in known]:
                self._connections.pop(gone).close()
        address = address_of(member, router.node_id)
        connection = self._connections.get(address)
        if connection is not None and not connection.closed:
            return connection
        lock = self._opening.setdefault(address, asyncio.Lock())
        async with lock:
            connection = self._connections.get(address)
            if connection is None or connection.closed:
                session.check_open()
                cluster_map = router.cluster_map
                connection = await AsyncConnection.open(
                    address,
                    cluster=cluster_map.name,
                    token=cluster_map.token,
                    client=session.client,
                    service=session.service,
                    deadline_s=deadline_s,
                )
                self._connections[address] = connection
            return connection
