"""Play seeds of the simulated world and stop at the first that breaks a promise.

`python -m daycache_ray.simulation --seeds N [--first-seed N] [--without RULE]`
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import traceback

from daycache_ray.simulation.world import World


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when every seed kept every promise, else 1 after printing the command that replays it."""
    parser = argparse.ArgumentParser(prog="python -m daycache_ray.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to play")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--without", action="append", default=[], help="switch a rule off, such as R5 (repeatable)")
    chosen = parser.parse_args(arguments)
    without = frozenset(chosen.without)
    started, events, calls = time.process_time(), 0, 0
    branches: dict[str, int] = {}
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        try:
            figures = World(seed, without).run()
        except Exception as error:
            if not isinstance(error, AssertionError):
                traceback.print_exc()
            rules = "".join(f" --without {rule}" for rule in sorted(without))
            print(f"seed {seed} failed: {type(error).__name__}: {error}")
            print(f"Python {platform.python_version()}; replay it with:")
            print(f"  python -m daycache_ray.simulation --seeds 1 --first-seed {seed}{rules}")
            return 1
        events += figures.events_count
        calls += figures.calls_count
        for branch, count in figures.branches.items():
            branches[branch] = branches.get(branch, 0) + count
        played = seed - chosen.first_seed + 1
        if played % 25 == 0 or played == chosen.seeds:
            spent = time.process_time() - started
            print(f"{played} seeds, {calls} calls, {events} events, {spent:.1f} s", flush=True)
    for branch in sorted(branches):
        print(f"  {branches[branch]:>8}  {branch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
