"""Recorded accesses to judge eviction by, the figures of others that lie beside them, and a stand-in without them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

REQUESTS_MAX = 1_000_000
"""As in the figures of others: the head of a longer trace."""
_LINE = re.compile(r"^\| (\w+) \| ([\d.]+)% \|(.*)\|$")


@dataclass(frozen=True)
class AccessTrace:
    """Keys are numbered 0, 1, 2 … in no order that means anything; sizes and costs are those of each key."""

    name: str
    keys: list[int]
    distinct_count: int
    sizes_bytes: list[int] | None = None
    costs_us: list[int] | None = None
    full_count: int = 0
    """Requests of the whole trace."""


def read_trace(path: Path, requests_max: int = REQUESTS_MAX) -> AccessTrace:
    """Read the head of a Parquet file with a column `key` and perhaps `size` or `cost_us`."""
    file = pq.ParquetFile(path)
    names = [name for name in ("key", "size", "cost_us") if name in file.schema_arrow.names]
    table = file.read(columns=names).slice(0, requests_max)
    distinct, first, numbers = np.unique(table["key"].to_numpy(), return_index=True, return_inverse=True)

    def of_key(name: str) -> list[int] | None:
        return table[name].to_numpy()[first].astype(np.int64).clip(1).tolist() if name in names else None

    return AccessTrace(
        path.stem, numbers.tolist(), len(distinct), of_key("size"), of_key("cost_us"), file.metadata.num_rows
    )


def requests_count(path: Path) -> int:
    """Return how many requests a trace has, without reading them."""
    return int(pq.ParquetFile(path).metadata.num_rows)


def synthetic_trace(requests_count: int, *, seed: int = 7) -> AccessTrace:
    """Return zipf accesses, a scan now and then, and a loop over somewhat more than a small cache holds.

    >>> trace = synthetic_trace(20_000)
    >>> len(trace.keys), max(trace.keys) < trace.distinct_count
    (20000, True)
    """
    dice = random.Random(seed)
    popular = max(100, requests_count // 20)
    weights = np.cumsum(1.0 / np.arange(1, popular + 1) ** 0.9)
    drawn = np.searchsorted(weights, np.random.default_rng(seed).random(requests_count) * weights[-1]).tolist()
    keys: list[int] = []
    fresh, looped = 2 * popular, popular // 8
    while len(keys) < requests_count:
        keys += drawn[len(keys) : len(keys) + 4_000]
        if dice.random() < 0.5:
            keys += range(fresh, fresh + 500)
            fresh += 500
        else:
            keys += range(popular, popular + looped)
    distinct, numbers = np.unique(np.asarray(keys[:requests_count]), return_inverse=True)
    return AccessTrace("zipf, scans, loops", numbers.tolist(), len(distinct), full_count=requests_count)


def figures_of_others(readme: Path) -> dict[tuple[str, float], dict[str, float]]:
    """Return trace and ratio -> policy -> miss ratio, from the table in the README of the traces; empty without it."""
    found: dict[tuple[str, float], dict[str, float]] = {}
    names: list[str] = []
    for line in readme.read_text().splitlines() if readme.is_file() else ():
        if line.startswith("| trace | cache |"):
            names = [name.strip() for name in line.split("|")[3:-1]]
        elif names and (match := _LINE.match(line)):
            cells = [cell.strip() for cell in match[3].split("|")]
            found[match[1], round(float(match[2]) / 100, 6)] = {
                name: float(cell) for name, cell in zip(names, cells, strict=True) if cell != "-"
            }
    return found
