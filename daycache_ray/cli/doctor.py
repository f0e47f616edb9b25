"""`daycache doctor`: looks at the machine and says what stands in the way, and what to do about it."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated

import lmdb
import typer

from daycache_ray.cli.connection import Address, answers, join_ray
from daycache_ray.cli.diagnosis import FAIL, OK, Finding, LaggingReader, Readings, diagnose
from daycache_ray.cli.say import FAILED, AsJson, in_bytes, mistakes_said, result
from daycache_ray.storage.directory import LOCK_NAME
from daycache_ray.storage.leftovers import UNMARKED_AGE_S, IsKnown, cannot_ask, examine, remove_leftovers
from daycache_ray.storage.reader_lag import LONG_TRANSACTIONS, reader_lag_of
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.errors import CacheError

PACKAGES = ("ray", "torch", "lmdb", "hiredis", "msgspec", "numpy", "pyarrow", "pydantic")
RAY_ADDRESS_FILE = "ray_current_cluster"
"""Ray leaves the address of the cluster on this machine in its temporary directory, under this name."""


def doctor(
    address: Address = None,
    config: Annotated[Path | None, typer.Option("--config", help="Judge the memory by this configuration.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Remove what clusters that are gone left in memory.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at this machine and say what to do; exit code 1 when something cannot work."""
    with mistakes_said(as_json):
        wanted = ClusterConfig.load(config)
        removed = _fix(wanted.memory_path, address) if fix else []
        findings = (*removed, *diagnose(read_machine(wanted.memory_path, address), wanted))
        healthy = all(finding.verdict != FAIL for finding in findings)
        marks = {OK: "ok  ", FAIL: "FAIL"}
        text = "\n".join(
            f"{marks.get(finding.verdict, 'warn')}  {finding.about}: {finding.said}"
            + (f"\n      {finding.advice}" if finding.advice else "")
            for finding in findings
        )
        result(as_json, {"healthy": healthy, "findings": [_fields(finding) for finding in findings]}, text)
        if not healthy:
            raise typer.Exit(FAILED)


def _fix(memory_path: str, address: str | None) -> list[Finding]:
    found = remove_leftovers(
        memory_path, _knowledge_of_ray(address), unmarked_before_s=time.time() - UNMARKED_AGE_S
    )
    return [
        Finding(folder.path, OK, f"removed, {in_bytes(folder.size_bytes)} are free again; {folder.reason}")
        for folder in found
    ]


def _knowledge_of_ray(address: str | None) -> IsKnown:
    """Return what asks the Ray cluster that this machine is in, where there is one."""
    place = address or _address_on_this_machine()
    if not place or not answers(place):
        return cannot_ask
    join_ray(place)
    from daycache_ray.actors.cluster_state import is_known

    return is_known


def read_machine(memory_path: str, address: str | None) -> Readings:
    """Return what the diagnosis needs to know of this machine; takes at most a few seconds."""
    directory = Path(memory_path)
    usage = shutil.disk_usage(directory) if directory.is_dir() else None
    ray_address = address or _address_on_this_machine()
    return Readings(
        system=platform.system(),
        python=sys.version_info[:3],
        packages={name: _release(name) for name in PACKAGES},
        memory_total_bytes=usage.total if usage else None,
        memory_free_bytes=usage.free if usage else None,
        memory_file_system=_file_system(directory),
        memory_writable=os.access(directory, os.W_OK),
        cluster_folders=tuple(examine(memory_path, unmarked_before_s=time.time() - UNMARKED_AGE_S)),
        lagging_readers=tuple(_lagging_readers(directory / "daycache")),
        open_files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        has_boottime=hasattr(time, "CLOCK_BOOTTIME"),
        auth_mode=os.environ.get("RAY_AUTH_MODE"),
        has_token="RAY_AUTH_TOKEN" in os.environ
        or "RAY_AUTH_TOKEN_PATH" in os.environ
        or (Path.home() / ".ray" / "auth_token").exists(),
        ray_address=ray_address,
        ray_answers=answers(ray_address) if ray_address else False,
    )


def _lagging_readers(directory: Path) -> Iterator[LaggingReader]:
    for lock in sorted(directory.glob(f"*/*/*/*/{LOCK_NAME}")):
        store = str(lock.parent)
        try:
            lag = reader_lag_of(store)
            if lag.lag_transactions >= LONG_TRANSACTIONS:
                command = Path(f"/proc/{lag.pid}/comm").read_text("utf-8").strip()
                yield LaggingReader(store, lag.pid, command, lag.lag_transactions)
        except (CacheError, OSError, lmdb.Error):
            continue  # gone, or not ours to read


def _fields(finding: Finding) -> dict[str, str]:
    return {"about": finding.about, "verdict": finding.verdict, "said": finding.said, "advice": finding.advice}


def _release(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _file_system(directory: Path) -> str | None:
    """Return the type of the file system that holds a directory, None where that cannot be read."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    except OSError:
        return None
    around = {str(parent): None for parent in (directory, *directory.parents)}
    held = [(len(fields[1]), fields[2]) for fields in mounts if fields[1] in around]
    return max(held)[1] if held else None


def _address_on_this_machine() -> str | None:
    place = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray" / RAY_ADDRESS_FILE
    try:
        return place.read_text("utf-8").strip() or None
    except OSError:
        return None
