"""A PostgreSQL for the tests: that of DAYCACHE_TEST_POSTGRES_URL, or a private server as long as they last."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        found.insert(0, Path(on_path))
    return found[0].resolve().parent if found else None


def _as_nobody_special() -> list[str]:
    """Return what to put before a command so that it does not run as root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres' to run it as")
    return ["runuser", "-u", "postgres", "--"]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Return the URL of an empty database that may be written to."""
    given_url = os.environ.get("DAYCACHE_TEST_POSTGRES_URL")
    if given_url:
        yield given_url
        return
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: install the package 'postgresql', or set DAYCACHE_TEST_POSTGRES_URL")
    before = _as_nobody_special()
    # Not below pytest's own directory: another user could not enter it. Short, for the socket's path.
    directory = Path(tempfile.mkdtemp(prefix="daycache-pg-"))
    data = directory / "data"
    if before:
        shutil.chown(directory, "postgres")
    try:
        run = {"check": True, "capture_output": True, "cwd": directory, "timeout": 60}
        subprocess.run([*before, programs / "initdb", "-D", data, "-U", "daycache", "-A", "trust", "-N"], **run)
        options = f"-c listen_addresses='' -c unix_socket_directories={directory} -c fsync=off"
        subprocess.run(
            [*before, programs / "pg_ctl", "-D", data, "-w", "-l", directory / "log", "-o", options, "start"], **run
        )
        try:
            yield f"postgresql+psycopg://daycache@/postgres?host={directory}"
        finally:
            subprocess.run([*before, programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], **run)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
