"""A blocking connection to a replica: one request at a time, one thread at a time."""

from __future__ import annotations

import os
import socket
import struct
import time
from itertools import count
from typing import Final

from daycache_ray.structures.spin_budget import SpinBudget
from daycache_ray.wire.address import SocketAddress
from daycache_ray.wire.failures import error_of
from daycache_ray.wire.frames import FrameReader, decode_answer, request_frame
from daycache_ray.words.errors import DeadlineExceededError, ShardUnavailableError, UnknownOutcomeError
from daycache_ray.words.operations import PROTOCOL_VERSION, Answer, Failure, Hello, Request

_RECEIVE_BYTES = 256 * 1024
_TIMEVAL = struct.Struct("ll")
_SPIN_NS: Final = 250_000
"""How long an answer from this node is looked for before the thread sleeps."""
_CROWDED_NS: Final = 20_000
"""Who gives way for so long shares its core with somebody, mostly with the replica itself."""
_MAY_SPIN: Final = len(os.sched_getaffinity(0)) > 1


class Connection:
    """One socket, greeted. After any error but a typed answer it is closed and of no more use."""

    def __init__(self, sock: socket.socket, address: SocketAddress) -> None:
        self.address = address
        self.closed = False
        self._socket = sock
        self._reader = FrameReader()
        self._timeout_ms = -1
        self._spin = SpinBudget() if address.path and _MAY_SPIN else None
        self._ids = count(1)

    @classmethod
    def open(
        cls, address: SocketAddress, *, cluster: str, token: str, client: int, service: str, deadline_s: float
    ) -> Connection:
        """Return a greeted connection.

        Raises:
            ShardUnavailableError: nobody listens there: fetch the cluster map and try again.
            AccessDeniedError, ProtocolVersionError: the greeting was refused.
        """
        family = socket.AF_UNIX if address.path else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(max(deadline_s, 0.001))
            sock.connect(address.path if address.path else (address.host, address.port))
            sock.settimeout(None)
            if not address.path:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            raise ShardUnavailableError(f"no replica answers at {address}: {error}") from None
        connection = cls(sock, address)
        try:
            connection.call(Hello(0, PROTOCOL_VERSION, cluster, token, client, service), deadline_s)
        except UnknownOutcomeError as error:
            raise ShardUnavailableError(f"the replica at {address} hung up: {error}") from None
        except BaseException:
            connection.close()
            raise
        return connection

    def next_id(self) -> int:
        """Return a request id that this connection has not used."""
        return next(self._ids)

    def call(self, request: Request, deadline_s: float) -> Answer:
        """Send a request and return its answer.

        Raises:
            CacheError: the replica's own typed answer; the connection stays good.
            UnknownOutcomeError: the connection broke or `deadline_s` seconds passed; it is closed, and
                a write may have happened. Repeating the same sequence number is harmless.
            ValueError: the request has no answer (Accesses); use `send`.
        """
        request_id: int = request.id  # type: ignore[union-attr]
        try:
            self._limit(deadline_s)
            self._socket.sendall(request_frame(request))
            while True:
                for frame in self._receive():
                    answer = decode_answer(frame)
                    if answer.id == request_id:
                        if type(answer) is Failure:
                            raise error_of(answer)
                        return answer
        except BlockingIOError:
            self.close()
            raise UnknownOutcomeError(f"no answer from {self.address} within {deadline_s:.3f} s") from None
        except OSError as error:
            self.close()
            raise UnknownOutcomeError(f"the connection to {self.address} broke: {error}") from None

    def send(self, request: Request) -> None:
        """Send a request that has no answer.

        Raises:
            DeadlineExceededError, ShardUnavailableError: it did not leave; the connection is closed.
        """
        try:
            self._socket.sendall(request_frame(request))
        except BlockingIOError:
            self.close()
            raise DeadlineExceededError(f"{self.address} takes no more bytes") from None
        except OSError as error:
            self.close()
            raise ShardUnavailableError(f"the connection to {self.address} broke: {error}") from None

    def close(self) -> None:
        """Hang up; harmless when done twice."""
        self.closed = True
        self._socket.close()

    def _receive(self) -> list[object]:
        spin = self._spin
        data = self._look(spin) if spin is not None and spin.is_worth() else None
        if data is None:
            data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("closed by the other side")
        return self._reader.feed(data)

    def _look(self, spin: SpinBudget) -> bytes | None:
        """Return what has come within a moment, without sleeping; None when nothing has."""
        receive, give_way, clock_ns = self._socket.recv, os.sched_yield, time.perf_counter_ns
        now_ns = clock_ns()
        end_ns = now_ns + _SPIN_NS
        is_crowded = False
        while now_ns < end_ns:
            try:
                data = receive(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                give_way()
            else:
                spin.won(is_crowded)
                return data
            before_ns, now_ns = now_ns, clock_ns()
            if now_ns - before_ns > _CROWDED_NS:
                is_crowded = True
        spin.lost()
        return None

    def _limit(self, deadline_s: float) -> None:
        # The kernel's own receive time-out, and only when it changes by more than an eighth: a
        # Python time-out would cost a poll() per call. The caller's loop keeps the exact deadline.
        wanted_ms = max(1, int(deadline_s * 1000))
        if self._timeout_ms > 0 and wanted_ms * 7 <= self._timeout_ms * 8 <= wanted_ms * 9:
            return
        value = _TIMEVAL.pack(wanted_ms // 1000, wanted_ms % 1000 * 1000)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        self._timeout_ms = wanted_ms
