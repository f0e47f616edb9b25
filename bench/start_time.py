"""How long `daycache.start()` takes, in a process of its own so that nothing is warm but the disk.

python -m bench.start_time [--http]     prints one JSON object
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

CHILD_DEADLINE_S = 120.0


def measure_start(*, http: bool) -> dict[str, Any]:
    """Return import_s, start_s, stop_s of a fresh process; `start_s` is what a caller of start() waits.

    Raises:
        RuntimeError: the process failed; the end of what it wrote is in the message.
    """
    command = [sys.executable, "-m", "bench.start_time", *(["--http"] if http else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_DEADLINE_S, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or done.stdout)[-800:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def main() -> None:
    """Start, use, stop once."""
    http = "--http" in sys.argv[1:]
    begun = time.perf_counter()
    import daycache_ray as daycache

    imported = time.perf_counter()
    cache = daycache.start(daycache.ClusterConfig(name=f"start-{os.getpid()}"), http=http)
    started = time.perf_counter()
    cache.region("market_data").set("AAPL", 150.25)
    if cache.region("market_data").get("AAPL") != 150.25:
        raise SystemExit("the cluster that just started does not give back what was written")
    used = time.perf_counter()
    cache.close()
    daycache.stop(cache.name)
    stopped = time.perf_counter()
    figures = {
        "http": http,
        "import_s": imported - begun,
        "start_s": started - imported,
        "first_use_s": used - started,
        "stop_s": stopped - used,
    }
    print(json.dumps({name: round(value, 3) if name != "http" else value for name, value in figures.items()}))


if __name__ == "__main__":
    main()
