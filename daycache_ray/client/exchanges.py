"""Conversations with replicas as generators: they yield steps, a driver performs them, nothing here waits.

A step is a `Call` (its answer is sent in, its error thrown in), a `Pause`, a `Tell`, a `Load`, a `Finish` or a
`Spawn`. The drivers are `channels.Channels` for threads and `async_channels.AsyncChannels` for asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from daycache_ray.client.router import Pause, Retry, attempt_s
from daycache_ray.client.session import Session
from daycache_ray.origins.loading import KeyLoader
from daycache_ray.words.cluster_map import MemberAddress
from daycache_ray.words.errors import CacheError, ShardUnavailableError
from daycache_ray.words.operations import Request
from daycache_ray.words.types import ShardId

T = TypeVar("T")


Build: TypeAlias = Callable[[int], Request]
Undo: TypeAlias = Callable[[Any], Build | None]


class Call(NamedTuple):
    """Send a request and wait for its answer, at most `attempt_s`. `build` puts the request's id in.

    `undo`, where given, makes a request out of an answer that comes when nobody waits for it any more.
    """

    member: MemberAddress
    build: Build
    attempt_s: float
    undo: Undo | None = None


class Tell(NamedTuple):
    """Send a request and do not wait for its answer; failures are ignored."""

    member: MemberAddress
    build: Build


class Load(NamedTuple):
    """Ask an origin for `keys`, at most `deadline_s`; the outcome is a dict of those it has.

    What the loader raises is thrown in as LoadError. `soft_s`: the outcome is an `Unfinished` where it takes
    longer than that.
    """

    loader: KeyLoader
    keys: tuple[str, ...]
    deadline_s: float
    soft_s: float | None = None


class Unfinished(NamedTuple):
    """A load that goes on; `work` is the driver's."""

    load: Load
    work: Any


class Finish(NamedTuple):
    """Wait for an unfinished load, at most `deadline_s` more; the outcome is that of `Load`."""

    unfinished: Unfinished
    deadline_s: float


class Spawn(NamedTuple):
    """Perform another exchange behind this one; nobody hears how it ends."""

    exchange: Generator[Any, Any, None]


Step: TypeAlias = Call | Tell | Load | Finish | Spawn | Pause
Exchange: TypeAlias = Generator[Step, Any, T]


def ask(
    session: Session,
    shard: ShardId,
    build: Build,
    deadline_at_s: float,
    *,
    writes: bool = False,
    size_bytes: int = 0,
) -> Exchange[Any]:
    """Return a primary's answer; see `converse`."""
    answer, _ = yield from converse(session, shard, build, deadline_at_s, writes=writes, size_bytes=size_bytes)
    return answer


def converse(
    session: Session,
    shard: ShardId,
    build: Build,
    deadline_at_s: float,
    *,
    writes: bool = False,
    size_bytes: int = 0,
    any_copy: bool = False,
    patient: bool = False,
    undo: Undo | None = None,
) -> Exchange[tuple[Any, MemberAddress]]:
    """Ask a shard's primary until it answers or the deadline passes; return its answer and who gave it.

    See `router.Retry` for the errors. `any_copy`: when the primary does not answer, another replica may.
    `patient`: the answer may take until the deadline, so one attempt lasts that long. `undo`: see `Call`.
    """
    retry: Retry | None = None
    while True:
        session.check_open()
        router = session.router
        attempt = retry.attempts_count if retry is not None else 0
        member = router.any_member(shard, attempt) if any_copy else router.primary(shard)
        try:
            if member is None:
                raise ShardUnavailableError(f"{shard} has no primary at the moment")
            left_s = deadline_at_s - session.now_s()
            answer = yield Call(member, build, left_s if patient else attempt_s(left_s, size_bytes), undo)
            return answer, member
        except CacheError as error:
            if retry is None:
                retry = Retry(shard, deadline_at_s, writes=writes, rng=session.rng)
            pause = retry.after(error, session.now_s(), router.cluster_map.version)
        yield pause
