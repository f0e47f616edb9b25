"""Arrow tables, record batches, arrays and chunked arrays as an IPC stream behind eight bytes that tell them apart.

Loaded by the registry when the first Arrow value passes. Decoding copies nothing; Arrow data is immutable by itself.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from daycache_ray.codecs.scalars import Encoded, Payload
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError
from daycache_ray.words.records import Codec

ARROW: Final = int(Codec.ARROW)
_TABLE: Final = b"table\0\0\0"
_BATCH: Final = b"batch\0\0\0"
_ARRAY: Final = b"array\0\0\0"
_CHUNKS: Final = b"chunks\0\0"
HEAD_BYTES: Final = 8
"""Where the IPC stream begins; a multiple of 8, as Arrow aligns its buffers."""


def encode(value: Any) -> Encoded:
    """Return a Table, RecordBatch, Array or ChunkedArray; raises InvalidValueError for what IPC cannot carry."""
    if type(value) is pa.Table:
        return ARROW, stream_of(value, _TABLE)
    if type(value) is pa.RecordBatch:
        return ARROW, stream_of(value, _BATCH)
    schema = pa.schema([pa.field("", value.type)])
    if type(value) is pa.ChunkedArray:
        return ARROW, stream_of(pa.Table.from_arrays([value], schema=schema), _CHUNKS)
    return ARROW, stream_of(pa.RecordBatch.from_arrays([value], schema=schema), _ARRAY)


def stream_of(value: Any, head: bytes) -> bytes:
    """Return `head` and a Table or RecordBatch as an IPC stream; raises InvalidValueError."""
    sink = pa.BufferOutputStream()
    sink.write(head)
    try:
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write(value)
    except pa.ArrowException as error:
        raise InvalidValueError(f"Arrow cannot write this {type(value).__name__}: {error}") from error
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def decode(payload: Payload) -> Any:
    """Return the value on top of `payload`; raises CorruptRecordError."""
    try:
        head = bytes(payload[:HEAD_BYTES])
        if head not in (_TABLE, _BATCH, _ARRAY, _CHUNKS):
            raise ValueError("it begins with none of 'table', 'batch', 'array' and 'chunks'")
        with pa.ipc.open_stream(pa.py_buffer(memoryview(payload)[HEAD_BYTES:])) as reader:
            value = reader.read_all() if head in (_TABLE, _CHUNKS) else reader.read_next_batch()
        value.validate()
        return value if head in (_TABLE, _BATCH) else value.column(0)
    except Exception as error:
        raise CorruptRecordError(f"a stored Arrow value cannot be read: {error}") from error
