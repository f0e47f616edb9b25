"""An origin's outage as readers live through it: a region without protection beside one with it, second by second.

The origin answers in 20 ms, becomes slow, then fails every question, then is back. The same readers ask both
regions for the same keys; each has an origin of its own with the same timetable. Every answer carries when its origin
gave it, so its age is known.

    python -m bench.origin_outage --json docs/figures/origin_outage.json --png docs/figures/origin_outage.png
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.measure import machine, percentile

TTL_S = 0.5
TIMETABLE = (("well", 4.0), ("slow", 3.0), ("down", 6.0), ("well again", 5.0))
"""What the origin does, and for how long."""

TAKES_S = {"well": 0.020, "slow": 0.4, "down": 0.020, "well again": 0.020}
KEYS_COUNT = 40
READERS_COUNT = 4
PAUSE_S = 0.004
"""A reader's pause between two questions."""

PROTECTION = {
    "stale_for_s": 60.0,
    "soft_deadline_s": 0.05,
    "breaker_failures_max": 5,
    "breaker_open_s": 0.25,
    "load_concurrency_max": 8,
}


class Origin:
    """A batch loader with a timetable; its values say when they were given."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.asked_at_s: list[float] = []

    def phase(self) -> str:
        """Return what the timetable says now."""
        left_s = time.monotonic() - self.began_s
        for name, length_s in TIMETABLE:
            if left_s < length_s:
                return name
            left_s -= length_s
        return TIMETABLE[-1][0]

    def load_many(self, keys: Sequence[str]) -> dict[str, float]:
        """Return the time for every key, or raise."""
        self.asked_at_s.append(time.monotonic() - self.began_s)
        phase = self.phase()
        time.sleep(TAKES_S[phase])
        if phase == "down":
            raise ConnectionError("the origin is down")
        return dict.fromkeys(keys, time.monotonic())


class Readers:
    """Threads that ask one region and note what they get: (second, kind, milliseconds)."""

    def __init__(self, region: Any, origin: Origin) -> None:
        self._region = region
        self._origin = origin
        self._end = threading.Event()
        self.notes: list[tuple[float, str, float]] = []
        self._threads = [threading.Thread(target=self._read, args=(n,), daemon=True) for n in range(READERS_COUNT)]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._end.set()
        for thread in self._threads:
            thread.join(10)

    def _read(self, number: int) -> None:
        from daycache_ray import LoadError

        key = number
        while not self._end.wait(PAUSE_S):
            key = (key + 7) % KEYS_COUNT
            began_s = time.monotonic()
            try:
                given_s = self._region.get_or_load(f"quote-{key}", deadline_s=5)
                # A load that this call waited for may be as old as the call.
                kind = "stale" if began_s - given_s > TTL_S + 0.25 else "fresh"
            except LoadError:
                kind = "error"
            ended_s = time.monotonic()
            self.notes.append((ended_s - self._origin.began_s, kind, (ended_s - began_s) * 1e3))


def run() -> dict[str, Any]:
    """Live through the outage; return the report. Takes about 20 s and the start of a cluster."""
    import daycache_ray as daycache
    from daycache_ray import ClusterConfig, PredictionConfig, RegionConfig

    origins = {"bare": Origin(), "protected": Origin()}
    # Loaders travel by pickle to the cluster's actors; those of this process are given to the calls instead.
    regions = tuple(
        RegionConfig(name=name, replicas=1, ttl_s=TTL_S, ttl_jitter_ratio=0.2, **(PROTECTION if name != "bare" else {}))
        for name in origins
    )
    config = ClusterConfig(
        name="outage", regions=regions, spare_actors=0, prediction=PredictionConfig(enabled=False)
    )
    with daycache.start(config) as cache:
        readers = {name: Readers(_Given(cache.region(name), origin), origin) for name, origin in origins.items()}
        began_s = time.monotonic()
        for name, origin in origins.items():
            origin.began_s = began_s
            readers[name].start()
        time.sleep(sum(length_s for _, length_s in TIMETABLE))
        for each in readers.values():
            each.stop()
        counted = cache.region("protected").statistics()
    return {
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "timetable_s": dict(TIMETABLE),
        "ttl_s": TTL_S,
        "protection": PROTECTION,
        "stale_answers_count": counted.stale_answers_count,
        "background_loads_count": counted.background_loads_count,
        "breaker_openings_count": counted.breaker_openings_count,
        "regions": {name: _report(readers[name].notes, origins[name].asked_at_s) for name in origins},
    }


class _Given:
    """A region whose calls bring their loader along."""

    def __init__(self, region: Any, origin: Origin) -> None:
        self._region = region
        self._origin = origin

    def get_or_load(self, key: str, deadline_s: float) -> Any:
        """Ask."""
        return self._region.get_or_load(key, self._origin, deadline_s=deadline_s)


def _report(notes: list[tuple[float, str, float]], asked_at_s: list[float]) -> dict[str, Any]:
    seconds = []
    for second in range(int(sum(length_s for _, length_s in TIMETABLE))):
        of_second = [note for note in notes if int(note[0]) == second]
        kinds = Counter(kind for _, kind, _ in of_second)
        times_ms = sorted(took_ms for _, _, took_ms in of_second)
        seconds.append(
            {
                "second": second,
                **{kind: kinds[kind] for kind in ("fresh", "stale", "error")},
                "questions": sum(int(at_s) == second for at_s in asked_at_s),
                "p99_ms": round(percentile(times_ms, 0.99), 2) if times_ms else 0.0,
            }
        )
    phases, start = {}, 0.0
    for name, length_s in TIMETABLE:
        part = [note for note in notes if start <= note[0] < start + length_s]
        kinds = Counter(kind for _, kind, _ in part)
        times_ms = sorted(took_ms for _, _, took_ms in part)
        phases[name] = {
            **{kind: kinds[kind] for kind in ("fresh", "stale", "error")},
            "questions": sum(start <= at_s < start + length_s for at_s in asked_at_s),
            "p50_ms": round(percentile(times_ms, 0.5), 3) if times_ms else 0.0,
            "p99_ms": round(percentile(times_ms, 0.99), 2) if times_ms else 0.0,
        }
        start += length_s
    return {"phases": phases, "seconds": seconds}


def transcript(report: dict[str, Any]) -> str:
    """Return the report as a table for a terminal."""
    lines = [
        "second  origin      |  bare: fresh  error  p99 ms  asked |  protected: fresh  stale  error  p99 ms  asked"
    ]
    bare, protected = (report["regions"][name]["seconds"] for name in ("bare", "protected"))
    for b, p in zip(bare, protected, strict=True):
        phase, left_s = "", b["second"] + 0.5
        for name, length_s in report["timetable_s"].items():
            if left_s < length_s:
                phase = name
                break
            left_s -= length_s
        lines.append(
            f"{b['second']:6}  {phase:<11} |  {b['fresh'] + b['stale']:11}  {b['error']:5}  {b['p99_ms']:6.1f}  "
            f"{b['questions']:5} |  {p['fresh']:16}  {p['stale']:5}  {p['error']:5}  {p['p99_ms']:6.1f}  "
            f"{p['questions']:5}"
        )
    counts = (report["stale_answers_count"], report["background_loads_count"], report["breaker_openings_count"])
    return "\n".join([*lines, "{} stale answers, {} loads behind answers, breaker opened {} times".format(*counts)])


def main() -> None:
    """Run, print the transcript, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the report")
    parser.add_argument("--png", type=Path, help="where to write the picture")
    arguments = parser.parse_args()
    report = run()
    print(transcript(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if arguments.png:
        from bench.pictures_outage import draw_outage

        draw_outage(report, arguments.png)


if __name__ == "__main__":
    main()
