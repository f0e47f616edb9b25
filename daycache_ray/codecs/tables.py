"""Arrow tables and record batches as an IPC stream behind eight bytes that tell the two apart.

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
HEAD_BYTES: Final = 8
"""Where the IPC stream begins; a multiple of 8, as Arrow aligns its buffers."""


def encode(value: Any) -> Encoded:
    """Return a Table or RecordBatch as bytes; raises InvalidValueError for what IPC cannot carry."""
    sink = pa.BufferOutputStream()
    is_table = type(value) is pa.Table
    sink.write(_TABLE if is_table else _BATCH)
    try:
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write(value)
    except pa.ArrowException as error:
        raise InvalidValueError(f"Arrow cannot write this {type(value).__name__}: {error}") from error
    return ARROW, sink.getvalue().to_pybytes()


def decode(payload: Payload) -> Any:
    """Return the Table or RecordBatch on top of `payload`; raises CorruptRecordError."""
    try:
        head = bytes(payload[:HEAD_BYTES])
        if head not in (_TABLE, _BATCH):
            raise ValueError("it begins with neither 'table' nor 'batch'")
        with pa.ipc.open_stream(pa.py_buffer(memoryview(payload)[HEAD_BYTES:])) as reader:
            if head == _TABLE:
                value = reader.read_all()
            else:
                value = reader.read_next_batch()
        value.validate()
    except Exception as error:
        raise CorruptRecordError(f"a stored Arrow value cannot be read: {error}") from error
    return value
