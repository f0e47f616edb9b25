"""Play seeds of the simulated world and stop at the first that breaks a promise.

A seed that fails is made smaller, and the command that replays it is printed. `--mutations` switches each
rule off in turn and says what notices it. docs/simulator.md tells how to read what is printed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

from daycache_ray.simulation.history import write_history
from daycache_ray.simulation.mutations import CHECKED_ELSEWHERE, RULES, catch
from daycache_ray.simulation.series import NOTHING, Failure, play
from daycache_ray.simulation.shrinking import shrink
from daycache_ray.simulation.swarm import FAULTS, Narrowing
from daycache_ray.simulation.world import World


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when every seed kept every promise, or every rule's absence was noticed, else 1."""
    chosen = _parser().parse_args(arguments)
    without = frozenset(chosen.without)
    narrowing = Narrowing(chosen.faults, chosen.faults_max, chosen.clients, chosen.keys, chosen.trouble_ms)
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    if chosen.mutations:
        return _mutations(range(chosen.first_seed, chosen.first_seed + min(chosen.seeds, 300)), chosen.json)
    if chosen.history is not None:
        return _history(chosen.first_seed, without, narrowing, chosen.history)
    total = NOTHING
    for series in play(seeds, without, narrowing, chosen.workers):
        total = total.plus(series)
        print(
            f"{total.seeds_count} seeds, {total.calls_count} operations, {total.events_count} events, "
            f"{total.cpu_s:.1f} CPU s, {total.calls_per_cpu_s:,.0f} operations a CPU second",
            flush=True,
        )
    _print_counts("faults", total.faults)
    _print_counts("branches", total.branches)
    if chosen.json is not None:
        _write(chosen.json, {**total._asdict(), "failure": total.failure and total.failure._asdict()})
    if total.failure is not None:
        _explain(total.failure, without, narrowing, may_shrink=chosen.shrink)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m daycache_ray.simulation", description=__doc__)
    add = parser.add_argument
    add("--seeds", type=int, default=100, help="how many seeds to play")
    add("--first-seed", type=int, default=0, help="the first of them")
    add("--workers", type=int, default=1, help="how many processes play")
    add("--without", action="append", default=[], help="switch a rule off, such as R5 (repeatable)")
    add("--mutations", action="store_true", help="switch each rule off in turn and print what notices it")
    add("--history", type=Path, help="play the first seed only, and write what its clients heard as JSON lines")
    add("--json", type=Path, help="write the figures, or the table of mutations, to a file")
    add("--no-shrink", dest="shrink", action="store_false", help="do not make a failing seed smaller")
    add("--faults", type=_faults, help=f"only these kinds of faults, of {','.join(FAULTS)}; none: no faults")
    add("--faults-max", type=int, help="end the trouble after so many faults")
    add("--clients", type=int, help="at most so many clients")
    add("--keys", type=int, help="at most so many keys")
    add("--trouble-ms", type=int, help="at most so long a time of trouble, in simulated ms")
    return parser


def _faults(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(text.split(","))
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown fault {unknown[0]}; there are {', '.join(FAULTS)}")
    return names


def _print_counts(title: str, counts: dict[str, int]) -> None:
    print(f"{title}:")
    for name in sorted(counts):
        print(f"  {counts[name]:>8}  {name}")


def _command(seed: int, without: frozenset[str], narrowing: Narrowing) -> str:
    rules = "".join(f" --without {rule}" for rule in sorted(without))
    return f"python -m daycache_ray.simulation --seeds 1 --first-seed {seed}{rules}{narrowing.options()}"


def _explain(failure: Failure, without: frozenset[str], narrowing: Narrowing, *, may_shrink: bool) -> None:
    """Print the failure and the commands that replay it, as it was and made smaller."""
    print(f"seed {failure.seed} failed: {failure.kind}: {failure.message}")
    print(f"Python {platform.python_version()}; replay it with:")
    print(f"  {_command(failure.seed, without, narrowing)}")
    if may_shrink and narrowing == Narrowing():
        smaller, found = shrink(failure, without)
        if smaller != Narrowing():
            print(f"made smaller, it fails with {found.message}:")
            print(f"  {_command(failure.seed, without, smaller)} --no-shrink")


def _history(seed: int, without: frozenset[str], narrowing: Narrowing, path: Path) -> int:
    world = World(seed, without, narrowing=narrowing)
    world.history = []
    try:
        world.run()
    except AssertionError as error:
        print(f"seed {seed} failed: {type(error).__name__}: {error}")
        return 1
    finally:
        write_history(path, world.history)
        print(f"{len(world.history)} operations of seed {seed} in {path}")
    return 0


def _mutations(seeds: range, path: Path | None) -> int:
    """Print which race or seed notices that a rule is missing; 1 when one is not noticed."""
    rows: list[dict[str, Any]] = []
    for rule in RULES:
        if rule in CHECKED_ELSEWHERE:
            rows.append({"rule": rule, "caught_by": None, "seconds": None, "note": CHECKED_ELSEWHERE[rule]})
            print(f"{rule:<4} {'-':<12} {'':>8}  {CHECKED_ELSEWHERE[rule]}", flush=True)
            continue
        caught = catch(rule, seeds)
        rows.append({"rule": rule, "caught_by": caught.by or None, "seconds": round(caught.seconds, 3), "note": ""})
        print(f"{rule:<4} {caught.by or 'NOT CAUGHT':<12} {caught.seconds:>7.3f}s", flush=True)
    missed = [row["rule"] for row in rows if not row["caught_by"] and not row["note"]]
    if path is not None:
        _write(path, rows)
    print(f"{sum(1 for row in rows if row['caught_by'])} rules caught, {len(missed)} missed, of {len(rows)}")
    return 1 if missed else 0


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
