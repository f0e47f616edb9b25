"""What values cost: encoding and decoding by kind, beside pickle and msgpack, and what compression does to them.

python -m bench.values     about 15 seconds; no cluster, no store

Times are medians of single calls. `msgpack` is the package of that name with its defaults, for those values that it
takes at all; neither it nor pickle promises that what comes back is what went in, and reading a pickle runs code.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import pickle
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from rich.table import Table

from bench.measure import Case, machine, sample
from bench.tables import number, wide_console
from daycache_ray.codecs.compression import compressor_of, decompressed
from daycache_ray.codecs.registry import decode, encode, register_type
from daycache_ray.words.records import Codec

SAMPLE_S = 0.06
"""Time for one call of one kind; with it the whole bench stays below 15 seconds."""


class Side(enum.Enum):
    """Which way an order goes."""

    BUY = "buy"


@dataclasses.dataclass
class Order:
    """A value of a registered type."""

    symbol: str
    side: Side
    size: int
    limit: Decimal


def quotes(count: int) -> list[dict[str, Any]]:
    """Return records as a market sends them; the same ones at every call."""
    numbers = random.Random(7)
    return [
        {
            "symbol": numbers.choice(["AAPL", "MSFT", "SAP", "ADS"]),
            "bid": round(numbers.gauss(150, 5), 2),
            "ask": round(numbers.gauss(150, 5), 2),
            "volume": numbers.randrange(1_000_000),
            "venue": "XETRA",
            "time": f"2026-03-28T09:{numbers.randrange(60):02}:{numbers.randrange(60):02}",
        }
        for _ in range(count)
    ]


def values() -> dict[str, Any]:
    """Return one value of each kind, by name."""
    register_type(Side, name="bench.Side")
    register_type(Order, name="bench.Order")
    numbers = np.random.default_rng(7)
    walk = np.round(np.cumsum(numbers.normal(0, 0.01, 125_000)) + 150, 2)
    columns = {"t": np.arange(10_000), "p": walk[:10_000], "v": numbers.integers(0, 500, 10_000)}
    noon = dt.datetime(2026, 3, 28, 12, tzinfo=dt.timezone.utc)
    return {
        "None": None,
        "int": 1_234_567,
        "int of 1 000 digits": 10**1_000,
        "float": 150.25,
        "str, 12": "AAPL 150.25\n",
        "str, 10 kB": "lorem ipsum " * 850,
        "bytes, 100 B": bytes(100),
        "Decimal": Decimal("150.25"),
        "datetime, UTC": noon,
        "enum": Side.BUY,
        "tuple of 5": (1, 2.5, "x", None, True),
        "dict of 6": quotes(1)[0],
        "dict with times, sets": {"at": noon, "seen": {1, 2, 3}, "price": Decimal("1.5")},
        "dataclass": Order("AAPL", Side.BUY, 100, Decimal("150.25")),
        "100 dicts of 6": quotes(100),
        "5 000 dicts of 6": quotes(5_000),
        "numpy f8, 100": walk[:100],
        "numpy f8, 1 MB": walk,
        "numpy bfloat16, 1 MB": numbers.normal(0, 1, 500_000).astype(ml_dtypes.bfloat16),
        "torch f4, 1 MB": torch.from_numpy(numbers.normal(0, 1, 250_000).astype("f4")),
        "Arrow table, 3 x 10 000": pa.table(columns),
        "pandas frame, 3 x 10 000": pd.DataFrame(columns),
        "polars frame, 3 x 10 000": pl.DataFrame(columns),
    }


def p50_us(call: Callable[[Any], Any], argument: Any) -> float:
    """Return the median of single calls, in microseconds."""
    return sample(Case(call, (argument,)), SAMPLE_S).p50_us


def trip(write: Callable[[Any], Any], read: Callable[[Any], Any], value: Any) -> tuple[float, float] | None:
    """Return what writing and reading cost; None where the format does not take the value."""
    try:
        written = write(value)
        read(written)
    except (TypeError, ValueError, OverflowError):
        return None
    return p50_us(write, value), p50_us(read, written)


def codec_table(found: dict[str, Any]) -> Table:
    """Measure every kind; a row for each."""
    table = Table(title="p50 in us, writing / reading", title_justify="left")
    for name in ("value", "codec", "bytes", "here", "pickle", "msgpack"):
        table.add_column(name, justify="left" if name in ("value", "codec") else "right")
    for name, value in found.items():
        codec, payload = encode(value)
        times = (
            trip(encode, lambda written: decode(*written), value),
            trip(lambda item: pickle.dumps(item, 5), pickle.loads, value),
            trip(msgpack.packb, lambda written: msgpack.unpackb(written, strict_map_key=False), value),
        )
        shown = ("-" if pair is None else f"{number(pair[0])} / {number(pair[1])}" for pair in times)
        table.add_row(name, Codec(codec).name.lower(), f"{len(payload):,}", *shown)
    return table


def compression_table(found: dict[str, Any]) -> Table:
    """Compress what is large enough; a row for each, with the part that is left."""
    table = Table(title="compression: part left, us to compress / decompress", title_justify="left")
    for name in ("value", "bytes", "lz4", "zstd"):
        table.add_column(name, justify="left" if name == "value" else "right")
    for name, value in found.items():
        codec, payload = encode(value)
        cells = []
        for method in ("lz4", "zstd"):
            compress = compressor_of(method)
            assert compress is not None
            packed, flags = compress(codec, payload, 0)
            pack_us = p50_us(lambda item, compress=compress, codec=codec: compress(codec, item, 0), payload)
            left = f"{len(packed) / len(payload):.2f}" if flags else "kept"
            unpack = number(p50_us(decompressed, packed)) if flags else "-"
            cells.append(f"{left}  {number(pack_us)} / {unpack}")
        table.add_row(name, f"{len(payload):,}", *cells)
    return table


def main() -> None:
    """Measure and print."""
    console = wide_console()
    about = machine()
    console.print(
        f"{about['cpu']}, {about['cores_count']} cores, load {about['load_average_at_start']:.1f}, "
        f"Python {about['python']}; reading the clock costs {about['clock_us']} us of every figure"
    )
    found = values()
    console.print(codec_table(found))
    noise = {"random bytes, 1 MB": np.random.default_rng(7).bytes(1_000_000)}
    large = {name: value for name, value in found.items() if len(encode(value)[1]) >= 4_000} | noise
    console.print(compression_table(large))


if __name__ == "__main__":
    main()
