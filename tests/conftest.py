"""What holds for every suite: the environment of Ray on a test machine, hypothesis without a stopwatch."""

from __future__ import annotations

import os

# Before anything imports Ray. Ray 2.60 turns token authentication on in `ray.init` and off in a driver with an
# address; a test machine may have either, so the suites say which.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.pop("RAY_ADDRESS", None)
for name in [name for name in os.environ if name.startswith("DAYCACHE_") and not name.startswith("DAYCACHE_TEST_")]:
    del os.environ[name]

from hypothesis import settings  # noqa: E402

# A machine with other work on it is slow at times; that is no finding.
settings.register_profile("daycache", deadline=None, print_blob=True)
settings.load_profile("daycache")
