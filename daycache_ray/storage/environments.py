"""The LMDB environments of this process: each set of files is open once, whoever asks for it.

LMDB's locks belong to (process, file), so one process must not open the same files twice; a client and
an owner in one process share. Environments do not survive a fork: a child that used an inherited
one would leak a reader slot of the whole node with every transaction, and one that only closed or
collected it would free the slot of its parent, which then reads pages that are being overwritten
(both measured). So the child keeps them for ever, untouched, and opens its own.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

import lmdb

from daycache_ray.words.errors import CorruptRecordError, StoreInUseError, UnavailableError

READER_MAP_BYTES: Final = 64 << 30
"""Address space, not memory: larger than any store, so that its growth never reaches a reader."""

READERS_MAX: Final = 1024
DATABASES_MAX: Final = 16
_LOCK_FILE_BYTES: Final = 68 * 1024
"""A little more than LMDB needs for READERS_MAX slots."""

_lock = threading.Lock()
_opened: dict[tuple[int, int], Opened] = {}
_listeners: weakref.WeakSet[Any] = weakref.WeakSet()


class Opened:
    """One environment of this process and how many use it."""

    def __init__(self, environment: lmdb.Environment, identity: tuple[int, int], is_owned: bool) -> None:
        self.environment = environment
        self.identity = identity
        self.is_owned = is_owned
        self.users_count = 0

    def release(self) -> None:
        """Give it back; the last user closes it, in a reader by dropping it, for other threads may be inside."""
        with _lock:
            self.users_count -= 1
            if self.users_count > 0 or _opened.get(self.identity) is not self:
                return
            del _opened[self.identity]
            # Under the lock: py-lmdb remembers the files a moment longer than it has them open, and a new
            # generation may be given the same inode.
            if self.is_owned:
                self.environment.close()
            del self.environment


def open_owned(path: str, map_bytes: int) -> Opened:
    """Open, or make, the environment in the folder `path` for writing; the caller holds the store's lock.

    Raises:
        StoreInUseError: this process has it open for reading; close the reader first.
        OSError: ENOSPC and the like.
    """
    with _lock:
        known = _opened.get(_identity(path))
        if known is not None:
            if not known.is_owned:
                raise StoreInUseError(f"{path} is open for reading in this process: close its reader first")
            known.users_count += 1
            return known
        os.makedirs(path, mode=0o700, exist_ok=True)
        _allocate_lock_file(os.path.join(path, "lock.mdb"))
        # Nothing on tmpfs is worth a sync. writemap is 2-3 times faster, and safe with space allocated ahead.
        environment = lmdb.open(
            path,
            map_size=map_bytes,
            max_dbs=DATABASES_MAX,
            max_readers=READERS_MAX,
            sync=False,
            metasync=False,
            writemap=True,
            meminit=False,
            readahead=False,
            mode=0o600,
            max_spare_txns=1,
        )
        return _remember(environment, path, is_owned=True)


def open_shared(path: str) -> Opened:
    """Open the environment in the folder `path` for reading, or share the one that this process has.

    Raises:
        FileNotFoundError: there is none (any more).
        UnavailableError: it cannot be read from here; ask the owner by its socket.
        CorruptRecordError: it is no environment; its owner must rebuild it.
    """
    with _lock:
        known = _opened.get(_identity(path))
        if known is not None:
            known.users_count += 1
            return known
        if not os.path.exists(os.path.join(path, "data.mdb")):
            raise FileNotFoundError(path)
        try:
            environment = lmdb.open(
                path,
                map_size=READER_MAP_BYTES,
                max_dbs=DATABASES_MAX,
                max_readers=READERS_MAX,
                readonly=True,
                create=False,
                lock=True,
                readahead=False,
                max_spare_txns=1,
            )
        except (lmdb.CorruptedError, lmdb.InvalidError) as error:
            raise CorruptRecordError(f"{path}: {error}; its owner must rebuild it") from error
        except lmdb.Error as error:
            if not os.path.exists(os.path.join(path, "data.mdb")):
                raise FileNotFoundError(path) from error
            raise UnavailableError(
                f"{path} cannot be read from this process ({error}): ask its owner by its socket"
            ) from error
        return _remember(environment, path, is_owned=False)


def when_forked(listener: Any) -> None:
    """Call `listener.forget_after_fork()` in every forked child, as long as the listener lives."""
    _listeners.add(listener)


def _remember(environment: lmdb.Environment, path: str, is_owned: bool) -> Opened:
    identity = _identity(path)
    opened = Opened(environment, identity, is_owned)
    opened.users_count = 1
    _opened[identity] = opened
    return opened


def _identity(path: str) -> tuple[int, int]:
    # Not the path: a store that was removed and made anew has the same one.
    try:
        found = os.stat(os.path.join(path, "data.mdb"))
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _allocate_lock_file(path: str) -> None:
    # Otherwise a reader that takes a slot on a full tmpfs dies of SIGBUS. Only while this process has not opened
    # the environment: closing any descriptor of a file drops all locks that the process has on it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _LOCK_FILE_BYTES)
    finally:
        os.close(descriptor)


def _forget_after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    inherited = list(_opened.values())
    _opened.clear()
    for opened in inherited:
        # Never collected, not even when the interpreter ends: that would free the parent's reader slot.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(opened.environment))
    if inherited:
        _let_reopen(os.getpid())
    for listener in list(_listeners):
        listener.forget_after_fork()


def _let_reopen(pid: int) -> None:
    # py-lmdb refuses files that an environment of this process has open, and counts inherited ones among
    # them. Its names of files get the pid added, so that the child's own are others.
    try:
        from lmdb import _envid
    except ImportError:
        return
    env_keys: Callable[..., tuple[Any, ...]] = _envid.env_keys

    def env_keys_of_child(path: Any, subdir: Any) -> tuple[Any, ...]:
        return tuple((key, pid) for key in env_keys(path, subdir))

    _envid.env_keys = env_keys_of_child


os.register_at_fork(after_in_child=_forget_after_fork)
