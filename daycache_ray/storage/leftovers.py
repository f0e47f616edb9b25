"""Directories of clusters that are gone, and taking them away: they hold memory.

A cluster whose driver was killed with all of Ray leaves `<memory_path>/daycache/<cluster>-<id>` behind. One is removed
only with proof that nobody uses it or will: it is this user's, no process of the cluster is there and no store has an
owner (the kernel's word: their locks are free), and either the Ray node that started them is dead, or it is the
asker's own and Ray no longer knows the cluster. Whoever cannot prove it leaves it and says why.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final, NamedTuple, TypeAlias

from daycache_ray.storage.cluster_use import IN_USE_NAME, is_alive, read_host
from daycache_ray.storage.directory import LOCK_NAME, OwnerLock
from daycache_ray.words.errors import StoreInUseError

UNMARKED_AGE_S: Final = 3_600.0
"""A directory that does not say who starts its processes is removed on request only, and not before this age."""

_REMOVING_PREFIX: Final = ".removing-"

IsKnown: TypeAlias = Callable[[str, str], bool | None]
"""Whether Ray knows the cluster of a name and id; None: it cannot be asked."""


class ClusterFolder(NamedTuple):
    """A cluster's directory, whether it may be removed, and why or why not."""

    path: str
    size_bytes: int
    is_left: bool
    reason: str


def cannot_ask(_cluster: str, _cluster_id: str) -> bool | None:
    """The `IsKnown` of whoever is in no Ray cluster."""
    return None


def examine(
    memory_path: str, is_known: IsKnown = cannot_ask, *, own_host_pid: int = 0, unmarked_before_s: float = 0.0
) -> list[ClusterFolder]:
    """Return every cluster's directory below `memory_path` with a judgement; nothing is changed.

    Args:
        memory_path: as in ClusterConfig.
        is_known: asks Ray.
        own_host_pid: Ray's node process of the asker, 0 when it has none.
        unmarked_before_s: a directory without a mark is left if nothing in it was changed since, wall-clock seconds.
    """
    found = []
    for path in _folders(memory_path):
        with ExitStack() as locks:
            reason, is_left = _judge(path, is_known, own_host_pid, unmarked_before_s, locks)
            found.append(ClusterFolder(path, _size_bytes(path), is_left, reason))
    return found


def remove_leftovers(
    memory_path: str, is_known: IsKnown = cannot_ask, *, own_host_pid: int = 0, unmarked_before_s: float = 0.0
) -> list[ClusterFolder]:
    """Remove what is left of clusters that are gone, and return it. Arguments as for `examine`."""
    removed = []
    for path in _folders(memory_path):
        with ExitStack() as locks:
            reason, is_left = _judge(path, is_known, own_host_pid, unmarked_before_s, locks)
            if not is_left:
                continue
            size_bytes = _size_bytes(path)
            # Out of sight first, under the locks: whoever comes now makes a directory of its own.
            beside = os.path.join(os.path.dirname(path), f"{_REMOVING_PREFIX}{os.urandom(8).hex()}")
            try:
                os.rename(path, beside)
            except OSError:
                continue
        shutil.rmtree(beside, ignore_errors=True)
        removed.append(ClusterFolder(path, size_bytes, True, reason))
    _remove_half_removed(memory_path)
    return removed


def _judge(
    path: str, is_known: IsKnown, own_host_pid: int, unmarked_before_s: float, locks: ExitStack
) -> tuple[str, bool]:
    """Say why a directory is left or kept; on return `locks` holds all of its locks that could be taken."""
    about = os.lstat(path)
    if about.st_uid != os.geteuid():
        return f"it belongs to user {about.st_uid}", False
    try:
        descriptor = os.open(os.path.join(path, IN_USE_NAME), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        descriptor = -1
    host = None
    if descriptor >= 0:
        locks.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "processes of its cluster run here", False
        host = read_host(descriptor)
    for store in _stores(path):
        try:
            locks.callback(OwnerLock(store).release)
        except StoreInUseError:
            return f"{store} has a living owner", False
        except OSError as error:
            return f"{store} cannot be looked at: {error}", False
    cluster, _, cluster_id = os.path.basename(path).rpartition("-")
    known = is_known(cluster, cluster_id)
    if known:
        return "Ray knows its cluster: an owner will come again", False
    if host is None:
        if _changed_at_s(path) < unmarked_before_s:
            return "nobody owns its stores, and nothing was changed for long", True
        return "it does not say who starts its processes: too young to remove", False
    alive = is_alive(host)
    if alive is None:
        return "its processes belong to another PID namespace: look from there", False
    if not alive:
        return "the Ray node that ran its cluster is dead", True
    if host.pid == own_host_pid and known is False:
        return "Ray no longer knows its cluster", True
    return f"the Ray node that ran its cluster lives, process {host.pid}: stop the cluster there", False


def _folders(memory_path: str) -> list[str]:
    above = os.path.join(memory_path, "daycache")
    try:
        entries = sorted(os.scandir(above), key=lambda entry: entry.name)
    except OSError:
        return []
    return [
        entry.path for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
    ]


def _stores(path: str) -> Iterator[str]:
    for folder, _, files in os.walk(path):
        if LOCK_NAME in files:
            yield folder


def _size_bytes(path: str) -> int:
    return sum(about.st_blocks * 512 for about in _stats(path))


def _changed_at_s(path: str) -> float:
    return max((about.st_mtime for about in _stats(path)), default=0.0)


def _stats(path: str) -> Iterator[os.stat_result]:
    for folder, _, files in os.walk(path):
        for name in (*files, "."):
            try:
                yield os.lstat(os.path.join(folder, name))
            except OSError:
                continue


def _remove_half_removed(memory_path: str) -> None:
    above = os.path.join(memory_path, "daycache")
    try:
        names = [name for name in os.listdir(above) if name.startswith(_REMOVING_PREFIX)]
    except OSError:
        return
    for name in names:
        path = os.path.join(above, name)
        try:
            about = os.lstat(path)
        except OSError:
            continue
        if about.st_uid == os.geteuid() and stat.S_ISDIR(about.st_mode):
            shutil.rmtree(path, ignore_errors=True)
