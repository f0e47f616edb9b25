"""Frames and series of pandas and polars, Arrow arrays, and the small floats of ml_dtypes: exact or refused."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from daycache_ray.codecs.registry import decode, encode
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError
from daycache_ray.words.records import Codec

DAYS = pd.date_range("2026-03-28", periods=3, freq="D", tz="Europe/Berlin")
FRAMES = {
    "numbers": pd.DataFrame({"a": [1, 2, 3], "b": [0.5, np.nan, -0.0], "c": [True, False, True]}),
    "texts": pd.DataFrame({"s": ["x", None, "y"], "t": pd.array(["x", None, "y"], dtype="string")}),
    "nullable": pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")}),
    "arrow": pd.DataFrame({"i": pd.array([1, None], dtype="int64[pyarrow]")}),
    "times": pd.DataFrame({"t": DAYS, "d": DAYS - DAYS[0], "p": pd.period_range("2026", periods=3, freq="M")}),
    "by day": pd.DataFrame({"a": [1, 2, 3]}, index=DAYS),
    "category": pd.DataFrame({"c": pd.Categorical(["a", None], categories=["b", "a"], ordered=True)}),
    "objects": pd.DataFrame({"d": [Decimal("1.50"), None], "w": [dt.date(2026, 1, 2), None]}),
    "intervals": pd.DataFrame({"i": pd.interval_range(0, 2)}),
    "two levels": pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["p", None])),
    "two levels of columns": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)])),
    "numbered columns": pd.DataFrame([[1, 2], [3, 4]]),
    "named range": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(2, 6, 2, name="r")),
    "named by a number": pd.DataFrame({"a": [1]}).rename_axis(5),
    "days as columns": pd.DataFrame([[1, 2, 3]], columns=DAYS),
    "half": pd.DataFrame({"h": np.array([1, 2], np.float16)}),
    "empty": pd.DataFrame(),
    "no columns": pd.DataFrame(index=[1, 2]),
    "no rows": pd.DataFrame({"a": [1], "b": ["x"]}).iloc[:0],
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_pandas(name: str) -> None:
    frame = FRAMES[name]
    codec, payload = encode(frame)
    assert codec == Codec.PANDAS
    for stored in (payload, memoryview(payload)):
        back = decode(codec, stored)
        assert type(back) is pd.DataFrame
        pd.testing.assert_frame_equal(back, frame, check_freq=True, check_exact=True, check_column_type=True)
    pd.testing.assert_frame_equal(decode(*encode([frame]))[0], frame, check_freq=True)


def test_series_of_pandas() -> None:
    for series in (
        pd.Series([1, 2]),
        pd.Series(["a", None], name="s", index=DAYS[:2]),
        pd.Series([1.5], name=3),
        pd.Series([], dtype="int8"),
    ):
        back = decode(*encode(series))
        assert type(back) is pd.Series
        assert type(back.name) is type(series.name)
        pd.testing.assert_series_equal(back, series, check_freq=True)


# Earlier pandas has no type of its own for texts: an object column of them comes back as it is.
TEXT_HAS_A_TYPE = pytest.mark.skipif(pd.__version__ < "3", reason="pandas 3 gives texts a type")


@pytest.mark.parametrize(
    ("frame", "remedy"),
    [
        pytest.param(pd.DataFrame({"a": pd.Series(["x", "y"], dtype=object)}), "astype", marks=TEXT_HAS_A_TYPE),
        (pd.DataFrame({"a": pd.Series([1, None], dtype=object)}), "astype"),
        (pd.DataFrame({"a": pd.Series([Decimal(1), np.nan], dtype=object)}), "astype"),
        (pd.DataFrame({"a": [[1, 2], [3]]}), "astype"),
        pytest.param(
            pd.DataFrame({"a": [1]}, index=pd.Index(["x"], dtype=object)), "index", marks=TEXT_HAS_A_TYPE
        ),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate"),
        (pd.DataFrame([[1, 2]], columns=[1, "a"]), "mixed"),
        (pd.DataFrame({"a": np.array([1], np.complex128)}), "Arrow"),
        (pd.DataFrame({"a": [object()]}), "Arrow"),
        (pd.Series([1], name=("a", 1)), "name"),
    ],
    ids=range(10),
)
def test_what_pandas_would_change_is_refused(frame: Any, remedy: str) -> None:
    with pytest.raises(InvalidValueError, match=remedy):
        encode(frame)
    assert encode(frame, allow_pickle=True)[0] == Codec.PICKLE


def test_frames_of_polars() -> None:
    frame = pl.DataFrame(
        {
            "a": [1, None],
            "enum": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x"])),
            "category": pl.Series(["x", None], dtype=pl.Categorical),
            "list": [[1], None],
            "struct": [{"q": 1}, {"q": 2}],
            "duration": pl.Series([1, 2]).cast(pl.Duration("ms")),
            "zoned": pl.Series([dt.datetime(2026, 1, 2)] * 2).dt.replace_time_zone("Europe/Berlin"),
            "null": [None, None],
            "wide": pl.Series([1, 2**100], dtype=pl.Int128),
            "decimal": [Decimal("1.50"), None],
            "array": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
        }
    )
    for value in (frame, frame.clear(), pl.DataFrame(), frame["enum"], pl.Series([1.5, float("nan")])):
        codec, payload = encode(value)
        assert codec == Codec.POLARS
        back = decode(codec, memoryview(payload))
        assert type(back) is type(value)
        assert back.equals(value)
        assert repr(back) == repr(value)
    assert decode(*encode(frame)).schema == frame.schema
    with pytest.raises(InvalidValueError, match="Python objects"):
        encode(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))
    with pytest.raises(InvalidValueError, match="LazyFrame"):
        encode(frame.lazy())


@pytest.mark.parametrize("value", [FRAMES["texts"], pl.DataFrame({"a": ["x"]})], ids=["pandas", "polars"])
def test_damaged_frames_say_so(value: Any) -> None:
    codec, payload = encode(value)
    damaged = [payload[:cut] for cut in (0, 7, 8, 15, 16, 20, len(payload) - 1)]
    for at in range(0, len(payload), 7):
        damaged.append(payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :])
    for wrong in damaged:
        with pytest.raises(CorruptRecordError):
            decode(codec, wrong)


def test_a_reader_without_the_library_is_told() -> None:
    stored = (encode(FRAMES["numbers"]), encode(pl.DataFrame({"a": [1]})), encode(np.zeros(1, ml_dtypes.bfloat16)))
    code = (
        "import sys\nfrom daycache_ray.codecs.registry import decode\n"
        "from daycache_ray.words.errors import UnknownTypeError\n"
        "sys.modules.update(dict.fromkeys(('pandas', 'polars', 'ml_dtypes')))\n"
        f"for stored in {stored!r}:\n"
        "    try:\n        decode(*stored)\n"
        "    except UnknownTypeError as error:\n        assert 'pip install' in str(error)\n"
        "    else:\n        raise SystemExit('decoded')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ARRAYS = [
    pa.array([1, None, 3]),
    pa.array(["x", None])[1:],
    pa.array([], pa.float32()),
    pa.array([None, None]),
    pa.array([[1], None]),
    pa.array([{"a": 1}]),
    pa.array(["x", "y", "x"]).dictionary_encode(),
    pa.array([1, 1, 2]).dictionary_encode(),
    pa.array([dt.datetime(2026, 1, 2)], pa.timestamp("ns", "Europe/Berlin")),
    pa.array([Decimal("1.50")]),
    pa.array(["view"], pa.string_view()),
    pa.chunked_array([[1], [], [2, None]]),
    pa.chunked_array([], pa.int8()),
    pa.chunked_array([pa.array(["x"]).dictionary_encode(), pa.array(["y"]).dictionary_encode()]),
]


@pytest.mark.parametrize("value", ARRAYS, ids=lambda value: str(value.type))
def test_arrow_arrays(value: Any) -> None:
    codec, payload = encode(value)
    assert codec == Codec.ARROW
    back = decode(codec, memoryview(payload))
    assert type(back) is type(value)
    assert back.type == value.type
    assert back.equals(value)
    if isinstance(value, pa.ChunkedArray):
        assert [len(chunk) for chunk in back.chunks] == [len(chunk) for chunk in value.chunks]


SMALL = sorted(
    name
    for name, found in vars(ml_dtypes).items()
    if isinstance(found, type) and issubclass(found, np.generic) and not name.startswith("_")
)


@pytest.mark.parametrize("name", SMALL)
def test_every_type_of_ml_dtypes(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    array = np.array([0, 1, 0], np.int8).astype(dtype)
    for value in (array, array[::2], array.reshape(3, 1).T, array[:0], np.asarray(array[1])):
        back = decode(*encode(value))
        assert (back.dtype, back.shape, back.tobytes()) == (value.dtype, value.shape, value.tobytes())
    record = np.zeros(2, [("a", dtype, (2,)), ("b", "f8")])
    back = decode(*encode(record))
    assert back.dtype == record.dtype
    assert back.dtype["a"].base.type is dtype.type
    scalar = array[1]
    back = decode(*encode(scalar))
    assert type(back) is type(scalar)
    assert back == scalar


def test_texts_of_any_length() -> None:
    for options in ({}, {"coerce": False}, {"na_object": None}, {"na_object": float("nan")}):
        dtype = np.dtypes.StringDType(**options)
        missing = [options["na_object"]] if "na_object" in options else []
        array = np.array([*missing, "", "a\0", "Grüße" * 1_000, *missing, "x"][:4], dtype)
        for value in (array, array.reshape(2, 2).T, array[::2], array[:0], np.array("x", dtype)):
            back = decode(*encode(value))
            assert back.dtype == value.dtype
            assert back.dtype.coerce == value.dtype.coerce
            assert back.shape == value.shape
            assert repr(back.tolist()) == repr(value.tolist())
            assert not back.flags.writeable
    with pytest.raises(InvalidValueError):
        encode(np.array(["a"], np.dtypes.StringDType(na_object="none")))
    codec, payload = encode(np.array(["a"], np.dtypes.StringDType()))
    with pytest.raises(CorruptRecordError, match="missing"):
        decode(codec, payload.replace(b"\xa1a", b"\xc0"))


def test_records_stay_records() -> None:
    plain = np.dtype([("a", "i4")])
    record = np.dtype((np.record, plain))
    for dtype in (plain, record, plain):
        back = decode(*encode(np.zeros(1, dtype)))
        assert back.dtype.type is dtype.type
        assert type(decode(*encode(np.zeros(1, dtype)[0]))) is dtype.type
    with pytest.raises(CorruptRecordError, match="ml_dtypes has no"):
        decode(Codec.NUMPY, encode(np.zeros(1, ml_dtypes.bfloat16))[1].replace(b"bfloat16", b"finfo   "))
