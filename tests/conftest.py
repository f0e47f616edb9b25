"""What holds for every suite: the environment of Ray on a test machine, hypothesis without a stopwatch."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

# Before anything imports Ray. Ray 2.60 turns token authentication on in `ray.init` and off in a driver with an
# address; a test machine may have either, so the suites say which.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.pop("RAY_ADDRESS", None)
for name in [name for name in os.environ if name.startswith("DAYCACHE_") and not name.startswith("DAYCACHE_TEST_")]:
    del os.environ[name]

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

# A machine with other work on it is slow at times; that is no finding.
settings.register_profile("daycache", deadline=None, print_blob=True)
settings.load_profile("daycache")


@pytest.fixture(scope="session")
def embedded_ray() -> Iterator[str]:
    """A Ray of our own; gives its address. Ends with the suite."""
    import ray

    # A Unix socket's path has at most 107 bytes, and Ray puts its own below this directory.
    directory = tempfile.mkdtemp(prefix="dc", dir="/tmp")
    context = ray.init(
        address="local",
        num_cpus=4,
        object_store_memory=128 * 1024 * 1024,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=directory,
    )
    try:
        yield context.address_info["gcs_address"]
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)
