"""The priority of the thread that serves. Knows nothing of what is served."""

from __future__ import annotations

import contextlib
import os
import threading


def serve_promptly(raylet_pid: int) -> None:
    """Give the calling thread the priority of the raylet, where that is permitted (root, CAP_SYS_NICE).

    Ray starts workers at nice 15, for tasks that compute. A replica at nice 15 gets a thirtieth of a core that a
    waiting client shares with it.
    """
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, raylet_pid))
