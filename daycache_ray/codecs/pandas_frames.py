"""DataFrames and Series of pandas as an Arrow stream, with what Arrow's own description of pandas leaves out.

Loaded by the registry when the first such value passes; pandas is optional. A frame is stored only if it comes back
with the same types: its shape is tried out on no rows, and columns of objects value by value.

    "frame" or "series", padded to 8 bytes | u64 xxh3 of the rest | IPC stream, whose schema has JSON under b"daycache"

The hash is checked, because pandas reads whatever offsets it is given, and copies nearly everything anyway.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Final

import pyarrow as pa

from daycache_ray.codecs.scalars import Encoded, Payload
from daycache_ray.codecs.seals import sealed, unsealed
from daycache_ray.codecs.tables import stream_of
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError, UnknownTypeError
from daycache_ray.words.records import Codec

PANDAS: Final = int(Codec.PANDAS)
_FRAME: Final = b"frame\0\0\0"
_SERIES: Final = b"series\0\0"
_OWN: Final = b"daycache"
_CHECKED_MAX: Final = 1_024
_checked: set[Any] = set()
"""Shapes of frames that were tried out and came back: trying one takes as long as the conversion itself."""


def encode(value: Any) -> Encoded:
    """Return a DataFrame or Series as bytes; raises InvalidValueError for what would come back changed."""
    is_series = type(value).__name__ == "Series"
    extras: dict[str, Any] = {}
    frame = value
    if is_series:
        if type(value.name) not in (str, int, type(None)):
            _refuse(f"the name {value.name!r}, which is neither text nor a number: rename it")
        extras["name"] = value.name
        frame = value.to_frame(name="values")
    if frame.columns.nlevels == 1 and frame.columns.inferred_type.startswith("mixed"):
        _refuse("columns of mixed types: rename them")
    extras.update(_axis_extras("index", frame.index))
    extras.update(_axis_extras("columns", frame.columns))
    try:
        table = pa.Table.from_pandas(frame)
    except Exception as error:
        raise InvalidValueError(f"Arrow cannot hold this pandas {type(value).__name__}: {error}") from error
    table = table.replace_schema_metadata({**table.schema.metadata, _OWN: json.dumps(extras).encode()})
    _check(frame, table)
    return PANDAS, sealed(_SERIES if is_series else _FRAME, stream_of(table, b""))


def decode(payload: Payload) -> Any:
    """Return the DataFrame or Series.

    Raises:
        CorruptRecordError: the bytes cannot be ours.
        UnknownTypeError: pandas is not installed.
    """
    try:
        importlib.import_module("pandas")
    except ImportError as error:
        raise UnknownTypeError("the entry holds a pandas value: pip install pandas to read it") from error
    try:
        head, stream = unsealed(payload, (_FRAME, _SERIES))
        with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
            table = reader.read_all()
        table.validate()
        frame = _restored(table)
        if head == _FRAME:
            return frame
        series = frame.iloc[:, 0]
        series.name = json.loads(table.schema.metadata[_OWN])["name"]
        return series
    except Exception as error:
        raise CorruptRecordError(f"a stored pandas value cannot be read: {error}") from error


def _axis_extras(name: str, axis: Any) -> dict[str, Any]:
    """Return what Arrow forgets of an index: that columns are a range, and the frequency of times."""
    if name == "columns" and type(axis).__name__ == "RangeIndex":
        return {"range": [axis.start, axis.stop, axis.step]}
    frequency = getattr(axis, "freqstr", None) if type(axis).__name__ in ("DatetimeIndex", "TimedeltaIndex") else None
    return {} if frequency is None else {f"{name} frequency": frequency}


def _restored(table: Any, *, are_rows_there: bool = True) -> Any:
    extras = json.loads(table.schema.metadata[_OWN])
    frame = table.to_pandas()
    if "range" in extras:
        frame.columns = importlib.import_module("pandas").RangeIndex(*extras["range"], name=frame.columns.name)
    if "index frequency" in extras and are_rows_there:
        frame.index.freq = extras["index frequency"]
    if "columns frequency" in extras:
        frame.columns.freq = extras["columns frequency"]
    return frame


def _check(frame: Any, table: Any) -> None:
    """Raise InvalidValueError unless the table gives the frame back; values of plain types need no look."""
    names = (*frame.index.names, *frame.columns.names)
    dtypes = (*frame.dtypes, *_level_dtypes(frame.index))
    in_full = any(map(_is_object, dtypes)) or any(type(name) not in (str, type(None)) for name in names)
    shape = None if in_full or frame.attrs else _shape_of(frame)
    if shape in _checked:
        return
    back = _restored(table if in_full else table.slice(0, 0), are_rows_there=in_full)
    for place, dtype, found in zip(range(frame.shape[1]), frame.dtypes, back.dtypes, strict=True):
        if dtype != found:
            _refuse(f"column {frame.columns[place]!r} as {found} instead of {dtype}: convert it with astype")
    axes = [("columns", frame.columns, back.columns)]
    # A range of numbers stands in the description of the whole, and is not found in its part of no rows.
    if in_full or type(frame.index).__name__ != "RangeIndex":
        axes.append(("index", frame.index, back.index))
    for name, axis, restored in axes:
        if _level_dtypes(axis) != _level_dtypes(restored) or list(axis.names) != list(restored.names):
            _refuse(f"its {name} as {_level_dtypes(restored)} instead of {_level_dtypes(axis)}: convert it with astype")
        if (in_full or name == "columns") and (type(axis) is not type(restored) or not _same(axis, restored)):
            _refuse(f"its {name} changed: make it plain with reset_index or rename")
    if frame.attrs != back.attrs:
        _refuse("its attrs changed: keep them elsewhere")
    for place in range(frame.shape[1]):
        if _is_object(frame.dtypes.iloc[place]) and not _same(frame.iloc[:, place], back.iloc[:, place]):
            _refuse(f"objects in column {frame.columns[place]!r} changed: convert it with astype")
    if shape is not None:
        if len(_checked) >= _CHECKED_MAX:
            _checked.clear()
        _checked.add(shape)


def _shape_of(frame: Any) -> Any:
    """Return all that the frame of no rows shows of a frame without objects: types, names, labels."""
    axes = [
        (type(axis).__name__, tuple(_level_dtypes(axis)), tuple(axis.names)) for axis in (frame.index, frame.columns)
    ]
    try:
        # Labels by their text too, because 1, 1.0 and True are one to a set.
        shape = (*axes, tuple(frame.dtypes), tuple(map(repr, frame.columns)))
        hash(shape)
    except TypeError:
        return None
    return shape


def _is_object(dtype: Any) -> bool:
    return getattr(dtype, "kind", "") == "O" and dtype.name == "object"


def _level_dtypes(axis: Any) -> list[Any]:
    return [level.dtype for level in axis.levels] if axis.nlevels > 1 else [axis.dtype]


def _same(left: Any, right: Any) -> bool:
    """Return whether two columns or axes hold equal values of equal types; a NaN equals a NaN."""
    if not _is_object(left.dtype):
        return bool(left.equals(right))
    return len(left) == len(right) and all(
        type(a) is type(b) and (a is b or a == b or (a != a and b != b)) for a, b in zip(left, right, strict=True)
    )


def _refuse(what: str) -> None:
    raise InvalidValueError(f"this pandas value would not come back as it is, with {what}")
