"""Where a replica's store lies, whose it is, and that only one process owns it.

    <memory_path>/daycache/<cluster>/<region>/<shard>/<seat>/
        owner.lock      flock for the life of the owner
        identity        JSON: format, cluster, region, shard, seat, store_id
        fence, visited  shared pages
        gen-<n>/        the LMDB environment of generation n
        large/          one file per large value
        socket          the owner's Unix socket

Knows nothing of what the files hold.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from typing import Final

import msgspec

from daycache_ray.storage.fence_page import FenceWriter
from daycache_ray.words.errors import ConfigError, StoreFormatError, StoreFullError, StoreInUseError
from daycache_ray.words.types import ShardId

FORMAT: Final = 4
"""Version of everything below a replica's directory; another one is refused, never converted."""

SOCKET_PATH_BYTES_MAX: Final = 107
"""sun_path of Linux, less its closing zero."""

SPACE_OVER_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""What a store needs beside its budget: the log, free pages, the shared pages."""

REMOVE_ATTEMPTS: Final = 3

FREE_BYTES_MIN: Final = 4 * 1024 * 1024

LOCK_NAME: Final = "owner.lock"
FENCE_NAME: Final = "fence"
VISITED_NAME: Final = "visited"
LARGE_NAME: Final = "large"
_IDENTITY_NAME: Final = "identity"
_SOCKET_NAME: Final = "socket"
_GENERATION_PREFIX: Final = "gen-"

owned_descriptors: set[int] = set()
"""Whose locks say that this process lives: a forked child closes them."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whose store it is. `store_id` is random: a wiped store never counts as the one that was there."""

    format: int = FORMAT
    cluster: str
    region: str
    shard: int
    seat: int
    store_id: int = 0


def replica_directory(memory_path: str, cluster: str, shard: ShardId, seat: int) -> str:
    """Return the directory of a replica's store.

    >>> replica_directory("/dev/shm", "shop", ShardId("orders", 3), 1)
    '/dev/shm/daycache/shop/orders/3/1'
    """
    return os.path.join(memory_path, "daycache", cluster, shard.region, str(shard.number), str(seat))


def socket_path(directory: str) -> str:
    """Return the path of the owner's Unix socket.

    Raises:
        ConfigError: it is longer than the kernel allows; the message says what to shorten.
    """
    path = os.path.join(directory, _SOCKET_NAME)
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(
            f"memory_path: the socket {path} has {length} bytes and the kernel allows {SOCKET_PATH_BYTES_MAX}; "
            f"write a shorter memory_path, cluster or region name"
        )
    return path


def generation_path(directory: str, generation: int) -> str:
    """Return the folder of a generation's environment."""
    return os.path.join(directory, f"{_GENERATION_PREFIX}{generation}")


def generations(directory: str) -> list[int]:
    """Return the generations that are there, oldest first."""
    found = []
    for name in os.listdir(directory):
        number = name.removeprefix(_GENERATION_PREFIX)
        if name.startswith(_GENERATION_PREFIX) and number.isdecimal():
            found.append(int(number))
    return sorted(found)


def remove_folder(path: str) -> None:
    """Remove a generation's folder, or another one below a store.

    A reader that is just opening it may put its lock file there meanwhile; so it is tried again, and what
    stays then is removed when the store is opened next.
    """
    for _ in range(REMOVE_ATTEMPTS):
        try:
            shutil.rmtree(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            continue
    shutil.rmtree(path, ignore_errors=True)


def check_space(path: str, limit_bytes: int) -> None:
    """Look whether the file system of `path` can hold a store of `limit_bytes`.

    Raises:
        StoreFullError: it cannot; the message says how it is given more.
    """
    total, _, free = shutil.disk_usage(path)
    needed = limit_bytes + SPACE_OVER_LIMIT_BYTES
    if total < needed:
        raise StoreFullError(
            f"{path} holds {_mib(total)} in all, and a store of {_mib(limit_bytes)} needs {_mib(needed)}: give the "
            f"container more shared memory (docker run --shm-size={-(-needed >> 20)}m; a memory volume in Kubernetes), "
            f"a smaller memory_bytes to the region, or another memory_path"
        )
    if free < FREE_BYTES_MIN:
        raise StoreFullError(
            f"{path} has only {_mib(free)} left of {_mib(total)}: remove what else lies there (`df {path}`), or give "
            f"it more (docker run --shm-size)"
        )


class OwnerLock:
    """The right to write a store, held until `release` or the death of the process."""

    def __init__(self, directory: str) -> None:
        """Take it.

        Raises:
            StoreInUseError: another process has it, or this one.
            FileNotFoundError: there is no such directory.
        """
        path = os.path.join(directory, LOCK_NAME)
        # Not inherited by programs this process starts; a forked child closes its copy (below).
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StoreInUseError(f"{directory} belongs to a process that lives: only one may own a store") from None
        except BaseException:
            os.close(self._descriptor)
            raise
        owned_descriptors.add(self._descriptor)

    def release(self) -> None:
        """Let it go; doing so twice is harmless."""
        if self._descriptor >= 0:
            owned_descriptors.discard(self._descriptor)
            # Not by closing alone: a child that was forked this moment still has its copy.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1


def read_identity(directory: str) -> Identity | None:
    """Return whose store lies there, None when there is none yet.

    Raises:
        StoreFormatError: it is not readable, or of another format.
    """
    path = os.path.join(directory, _IDENTITY_NAME)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    try:
        identity = msgspec.json.decode(text, type=Identity)
    except msgspec.MsgspecError as error:
        raise StoreFormatError(f"{path} is broken ({error}): wipe the store, it is rebuilt from a copy") from None
    if identity.format != FORMAT:
        raise StoreFormatError(
            f"{directory} has format {identity.format} and this release writes {FORMAT}: wipe the store, it is rebuilt "
            f"from a copy"
        )
    return identity


def claim_identity(directory: str, wanted: Identity, limit_bytes: int) -> Identity:
    """Return the identity that stands in the directory, or write `wanted` there with a new `store_id`.

    Raises:
        StoreFormatError: another format, cluster, shard or seat.
        StoreFullError: there is none yet, and no room for `limit_bytes`.
    """
    found = read_identity(directory)
    if found is None:
        check_space(directory, limit_bytes)
        found = msgspec.structs.replace(wanted, store_id=int.from_bytes(os.urandom(8), "big") >> 1 | 1)
        descriptor, beside = tempfile.mkstemp(prefix=_IDENTITY_NAME, dir=directory)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(found))
        os.rename(beside, os.path.join(directory, _IDENTITY_NAME))
    elif msgspec.structs.replace(found, store_id=0) != wanted:
        raise StoreFormatError(
            f"{directory} belongs to cluster {found.cluster!r}, {found.region}/{found.shard}, seat {found.seat}: "
            f"wipe it if that cluster is gone, or choose another memory_path"
        )
    return found


def wipe(directory: str) -> None:
    """Remove a store whose owner is dead. Readers learn it from the fence page, which stays, as does the lock.

    Raises:
        StoreInUseError: its owner lives.
    """
    lock = OwnerLock(directory)
    try:
        fence = os.path.join(directory, FENCE_NAME)
        if os.path.exists(fence):
            try:
                writer = FenceWriter(fence)
            except StoreFormatError:
                os.unlink(fence)
            else:
                writer.revoke()
                writer.set_generation(0)
                writer.close()
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if name in (LOCK_NAME, FENCE_NAME):
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                remove_folder(path)
            else:
                os.unlink(path)
    finally:
        lock.release()


def _mib(count_bytes: int) -> str:
    return f"{count_bytes / (1 << 20):.0f} MiB"


def _close_inherited_locks() -> None:
    # A forked child must not keep the lock alive after its parent's death. Closing a copy unlocks nothing.
    for descriptor in owned_descriptors:
        os.close(descriptor)
    owned_descriptors.clear()


os.register_at_fork(after_in_child=_close_inherited_locks)
