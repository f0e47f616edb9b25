"""That processes of a cluster work below its directory on this node, and how to know that none does.

    <memory_path>/daycache/<cluster>-<id>/in-use

Every such process holds a shared flock on the file for its life; whoever gets it exclusively knows that none is
there. It also says which process of the machine (Ray's node process) starts them: while that lives, others may
come. Knows nothing of stores and nothing of Ray.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

import msgspec

from daycache_ray.storage.directory import owned_descriptors
from daycache_ray.storage.fence_page import namespace_inode
from daycache_ray.words.errors import UnavailableError

IN_USE_NAME: Final = "in-use"
_ATTEMPTS: Final = 16
_BOOT_ID_PATH: Final = "/proc/sys/kernel/random/boot_id"
_START_TIME_FIELD: Final = 19
"""Of /proc/<pid>/stat, counted behind the name in brackets."""


class Host(msgspec.Struct, frozen=True):
    """The process that starts a cluster's processes on this machine; a number alone is given to others later."""

    pid: int
    started_ticks: int
    boot_id: str
    pid_namespace: int


def host_of(pid: int) -> Host:
    """Return the process `pid` of this machine as it is now; `started_ticks` is 0 when there is none."""
    return Host(pid, _started_ticks(pid), _boot_id(), namespace_inode("pid"))


def is_alive(host: Host) -> bool | None:
    """Return whether that process still lives; None when this process cannot know."""
    if host.boot_id != _boot_id():
        return False
    if host.pid_namespace != namespace_inode("pid"):
        return None
    ticks = _started_ticks(host.pid)
    return ticks != 0 and ticks == host.started_ticks


class ClusterUse:
    """The word of one process that it works below a cluster's directory; it ends with `release` or with the process."""

    def __init__(self, directory: str, host_pid: int) -> None:
        """Make the directory where it is missing, and hold it; `host_pid` is the process that starts ones like this.

        Raises:
            UnavailableError: the directory is taken away as fast as it is made.
        """
        self._descriptor = -1
        path = os.path.join(directory, IN_USE_NAME)
        for _ in range(_ATTEMPTS):
            _make_directory(directory)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue
            # Somebody who removes the directory has the lock for a moment; then this is a file of the past.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _is_at(descriptor, path):
                self._descriptor = descriptor
                owned_descriptors.add(descriptor)
                _say_host(descriptor, host_of(host_pid))
                return
            os.close(descriptor)
        raise UnavailableError(f"{directory} is removed again and again: end whoever removes it")

    def release(self) -> None:
        """Take the word back; doing so twice is harmless."""
        if self._descriptor >= 0:
            owned_descriptors.discard(self._descriptor)
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1


def read_host(descriptor: int) -> Host | None:
    """Return what an in-use file says, None when that cannot be read."""
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Host)
    except msgspec.MsgspecError:
        return None


def _say_host(descriptor: int, host: Host) -> None:
    if read_host(descriptor) != host:
        text = msgspec.json.encode(host)
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))


def _make_directory(directory: str) -> None:
    above = os.path.dirname(directory)
    os.makedirs(os.path.dirname(above), exist_ok=True)
    try:
        os.mkdir(above)
        # Other users have their clusters beside ours, and nobody removes another's: as in /tmp.
        os.chmod(above, 0o1777)
    except FileExistsError:
        pass
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass


def _is_at(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _started_ticks(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name may hold anything, brackets and blanks included.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    is_dead = fields[0] in (b"Z", b"X")
    return 0 if is_dead else int(fields[_START_TIME_FIELD])


def _boot_id() -> str:
    try:
        with open(_BOOT_ID_PATH, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
