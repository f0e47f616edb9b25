"""An origin's outage as a picture: answers by kind and questions to the origin, without protection and with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.pictures import ACCENT, ALARM, GRID, INK, QUIET, STYLE, plt

SHADES = {"slow": "#fff3bf", "down": "#ffe3e3"}


def draw_outage(report: dict[str, Any], path: Path) -> None:
    """Draw a report of bench.origin_outage into a PNG."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(12, 6.4), sharex=True, sharey="row", layout="constrained")
        for column, (name, title) in enumerate((("bare", "no protection"), ("protected", "with protection"))):
            seconds = report["regions"][name]["seconds"]
            at = [one["second"] + 0.5 for one in seconds]
            below = [0.0] * len(at)
            for kind, colour in (("fresh", ACCENT), ("stale", QUIET), ("error", ALARM)):
                counts = [float(one[kind]) for one in seconds]
                axes[0][column].bar(at, counts, 0.85, bottom=below, color=colour, label=f"{kind} answers")
                below = [low + high for low, high in zip(below, counts, strict=True)]
            axes[0][column].set_title(f"Answers a second, {title}")
            axes[1][column].bar(at, [one["questions"] for one in seconds], 0.85, color=INK)
            axes[1][column].set_title(f"Questions to the origin a second, {title}")
            axes[1][column].set_xlabel("seconds")
            for axis in (axes[0][column], axes[1][column]):
                start = 0.0
                for phase, length_s in report["timetable_s"].items():
                    if phase in SHADES:
                        axis.axvspan(start, start + length_s, color=SHADES[phase], zorder=0)
                        axis.text(start + 0.1, 0.97, phase, transform=axis.get_xaxis_transform(), va="top", color=INK)
                    start += length_s
                axis.grid(color=GRID)
        axes[0][0].legend(loc="upper right")
        figure.suptitle("An origin is slow, then down, then back", x=0.01, ha="left", fontsize=12, weight="bold")
        figure.savefig(path, dpi=110)
        plt.close(figure)
