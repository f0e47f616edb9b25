"""DataFrames and Series of polars in the Arrow stream that polars itself writes, which knows all of its types.

Loaded by the registry when the first such value passes; polars is optional.

    "frame" or "series", padded to 8 bytes | u64 xxh3 of the rest | IPC stream

The hash is checked first, because polars answers a damaged stream with a panic.
"""

from __future__ import annotations

import importlib
import io
from typing import Any, Final

from daycache_ray.codecs.scalars import Encoded, Payload
from daycache_ray.codecs.seals import sealed, unsealed
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError, UnknownTypeError
from daycache_ray.words.records import Codec

POLARS: Final = int(Codec.POLARS)
_FRAME: Final = b"frame\0\0\0"
_SERIES: Final = b"series\0\0"


def encode(value: Any) -> Encoded:
    """Return a DataFrame or Series as bytes; raises InvalidValueError for columns of Python objects."""
    is_series = type(value).__name__ == "Series"
    frame = value.to_frame() if is_series else value
    for name, dtype in frame.schema.items():
        if "Object" in str(dtype):
            raise InvalidValueError(f"column {name!r} of {dtype} holds Python objects: cast it to a type of polars")
    out = io.BytesIO()
    try:
        frame.write_ipc_stream(out)
    except Exception as error:
        raise InvalidValueError(f"polars cannot write this {type(value).__name__}: {error}") from error
    return POLARS, sealed(_SERIES if is_series else _FRAME, out.getbuffer())


def decode(payload: Payload) -> Any:
    """Return the DataFrame or Series.

    Raises:
        CorruptRecordError: the bytes cannot be ours.
        UnknownTypeError: polars is not installed.
    """
    try:
        polars = importlib.import_module("polars")
    except ImportError as error:
        raise UnknownTypeError("the entry holds a polars value: pip install polars to read it") from error
    try:
        head, stream = unsealed(payload, (_FRAME, _SERIES))
        frame = polars.read_ipc_stream(io.BytesIO(stream))
        return frame if head == _FRAME else frame.to_series()
    except BaseException as error:
        # What Rust could not bear arrives as a PanicException, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CorruptRecordError(f"a stored polars value cannot be read: {error}") from error
