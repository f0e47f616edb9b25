"""NumPy arrays and scalars: a short head, then the items as they lie in memory.

Loaded by the registry when the first NumPy value passes. Decoding copies nothing: the array lies on the payload, and it
is read-only whatever the payload was, so that a caller's code does not depend on where its value was found.

    kind u8 (0 C order, 1 Fortran order, 2 scalar, 3 texts) | dimensions u8 | length of dtype u16 | u64s of shape |
    dtype | pad | items

Types of the package ml_dtypes, bfloat16 among them, are known by their names, because NumPy itself calls them all void.
Texts of any length (StringDType) lie elsewhere than their array: they are a MessagePack list, and copied.
"""

from __future__ import annotations

import importlib
import struct
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
import numpy as np

from daycache_ray.codecs.scalars import Encoded, Payload
from daycache_ray.words.errors import CacheError, CorruptRecordError, InvalidValueError, UnknownTypeError
from daycache_ray.words.records import Codec

NUMPY: Final = int(Codec.NUMPY)
_HEAD: Final = struct.Struct("<BBH")
_ALIGNMENT_BYTES: Final = 16
"""Items begin at a multiple of it: the widest item NumPy has, a long double, wants 16."""
_C_ORDER, _FORTRAN_ORDER, _SCALAR, _TEXTS = 0, 1, 2, 3
_ML: Final = "\x01"
"""Stands before the name of a type of ml_dtypes, where NumPy's own have '<', '>', '=' or '|'."""
_DIMENSIONS: Final = tuple(struct.Struct(f"<{count}Q") for count in range(65))


def encode(value: Any) -> Encoded:
    """Return an ndarray or NumPy scalar as bytes; raises InvalidValueError for items that are Python objects."""
    if value.dtype.kind == "T":
        return _encode_texts(value)
    if isinstance(value, np.generic):
        kind, array = _SCALAR, np.asarray(value)
        if type(value) in (np.str_, np.bytes_) and array[()] != value:
            raise InvalidValueError("a NumPy text that ends in NUL loses it; store str(value) or bytes(value)")
    elif value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous:
        kind, array = _FORTRAN_ORDER, value.T
    else:
        kind, array = _C_ORDER, value
    dtype = array.dtype
    # Structured ones are not remembered: equal ones may differ in what must come back, such as np.record.
    text = _describe_plain(dtype) if dtype.names is None and dtype.metadata is None else _describe(dtype)
    return NUMPY, b"".join((_head(kind, value.shape, text), _items(array)))


def decode(payload: Payload) -> Any:
    """Return the array on top of `payload`, read-only, or the scalar.

    Raises:
        CorruptRecordError: the bytes cannot be ours.
        UnknownTypeError: the items are of ml_dtypes, which is not installed, or of a later NumPy.
    """
    try:
        kind, dimensions, length = _HEAD.unpack_from(payload)
        shape = _DIMENSIONS[dimensions].unpack_from(payload, _HEAD.size)
        start = _HEAD.size + 8 * dimensions
        offset = start + length + -(start + length) % _ALIGNMENT_BYTES
        if kind == _TEXTS:
            return _decode_texts(shape, payload[start : start + length], payload[offset:])
        dtype = _understand(bytes(payload[start : start + length]))
        order: Literal["F", "C"] = "F" if kind == _FORTRAN_ORDER else "C"
        array: Any = np.ndarray(shape, dtype, payload, offset, order=order)
        if kind > _SCALAR or offset + array.nbytes != len(payload):
            raise ValueError("its length is not that of its items")
        if kind == _SCALAR:
            # A structured scalar would be a window into the payload, and writable where that is.
            return np.array(array)[()]
    except CacheError:
        raise
    except Exception as error:
        raise CorruptRecordError(f"a stored array cannot be read: {error}") from error
    array.flags.writeable = False
    return array


def _head(kind: int, shape: tuple[int, ...], text: bytes) -> bytes:
    head = _HEAD.pack(kind, len(shape), len(text)) + _DIMENSIONS[len(shape)].pack(*shape) + text
    return head + bytes(-len(head) % _ALIGNMENT_BYTES)


def _encode_texts(value: Any) -> Encoded:
    """Return an array of StringDType: its options, and its items with None for those that are missing."""
    options = {"coerce": value.dtype.coerce}
    if hasattr(value.dtype, "na_object"):
        missing = value.dtype.na_object
        if missing is not None and not (type(missing) is float and missing != missing):
            _refuse(value.dtype)
        options["missing"] = "nan" if missing is not None else None
    items = [item if type(item) is str else None for item in value.ravel().tolist()]
    return NUMPY, _head(_TEXTS, value.shape, msgspec.msgpack.encode(options)) + msgspec.msgpack.encode(items)


def _decode_texts(shape: tuple[int, ...], text: Payload, items: Payload) -> Any:
    string_dtype = getattr(np.dtypes, "StringDType", None)
    if string_dtype is None:
        raise UnknownTypeError("the items are texts of any length: install NumPy 2 to read them")
    options = msgspec.msgpack.decode(text)
    found: list[Any] = msgspec.msgpack.decode(items, type=list[str | None])
    if "missing" in options:
        missing = float("nan") if options["missing"] == "nan" else None
        dtype = string_dtype(na_object=missing, coerce=options["coerce"])
        found = [missing if item is None else item for item in found]
    elif None in found:
        raise ValueError("a text is missing")
    else:
        dtype = string_dtype(coerce=options["coerce"])
    array = np.array(found, dtype).reshape(shape)
    array.flags.writeable = False
    return array


def _items(array: Any) -> bytes | memoryview:
    if array.nbytes == 0:
        return b""
    if not array.flags.c_contiguous:
        return array.tobytes()  # type: ignore[no-any-return]
    # As plain bytes, because datetime64 and structured items have no buffer; reshape gives 0-d a dimension.
    return array.reshape(-1).view(np.uint8).data  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _describe_plain(dtype: np.dtype[Any]) -> bytes:
    return _describe(dtype)


def _describe(dtype: np.dtype[Any]) -> bytes:
    """Return a dtype as its short name, or as MessagePack of its fields, checked that it can be understood."""
    fields = _fields(dtype)
    text = str(fields[0]).encode() if dtype.names is None else b"\x00" + msgspec.msgpack.encode(fields)
    try:
        understood = _understand(text)
        exact = understood == dtype and _fields(understood) == fields and len(text) < 65_536
    except (TypeError, ValueError):
        exact = False
    return text if exact else _refuse(dtype)


@lru_cache(maxsize=256)
def _understand(text: bytes) -> np.dtype[Any]:
    """Return the dtype of `_describe`; raises TypeError or ValueError."""
    dtype = _dtype_of(msgspec.msgpack.decode(text[1:])) if text[:1] == b"\x00" else _plain_of(text.decode("ascii"))
    if dtype.hasobject:
        raise ValueError("its items are Python objects")
    return dtype


def _plain_of(text: str) -> np.dtype[Any]:
    if not text.startswith(_ML):
        return np.dtype(text)
    try:
        found = getattr(importlib.import_module("ml_dtypes"), text[1:], None)
    except ImportError as error:
        raise UnknownTypeError(f"the items are {text[1:]} of ml_dtypes: pip install ml-dtypes to read them") from error
    if not isinstance(found, type) or not issubclass(found, np.generic):
        raise ValueError(f"ml_dtypes has no {text[1:]!r}")
    return np.dtype(found)


def _fields(dtype: np.dtype[Any]) -> Any:
    """Return [str] | [base, shape] | {names, formats, offsets, titles, itemsize, aligned, record} for any dtype."""
    if dtype.metadata is not None or (dtype.hasobject and dtype.names is None):
        _refuse(dtype)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_fields(base), list(shape)]
    if dtype.names is None or dtype.fields is None:
        return [_ML + dtype.name if dtype.type.__module__ == "ml_dtypes" else dtype.str]
    fields = [dtype.fields[name] for name in dtype.names]
    titles = [field[2] if len(field) > 2 else None for field in fields]
    if not all(title is None or isinstance(title, str) for title in titles):
        _refuse(dtype)
    return {
        "names": list(dtype.names),
        "formats": [_fields(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "titles": titles,
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
        "record": dtype.type is np.record,
    }


def _dtype_of(fields: Any) -> np.dtype[Any]:
    if isinstance(fields, list):
        if len(fields) == 1:
            return _plain_of(str(fields[0]))
        return np.dtype((_dtype_of(fields[0]), tuple(fields[1])))
    described = {
        "names": fields["names"],
        "formats": [_dtype_of(part) for part in fields["formats"]],
        "offsets": fields["offsets"],
        "itemsize": fields["itemsize"],
    }
    if any(title is not None for title in fields["titles"]):
        described["titles"] = fields["titles"]
    dtype: np.dtype[Any] = np.dtype(described, align=fields["aligned"])  # type: ignore[call-overload]
    return np.dtype((np.record, dtype)) if fields["record"] else dtype


def _refuse(dtype: np.dtype[Any]) -> bytes:
    raise InvalidValueError(
        f"an array of dtype {dtype!r} cannot be stored exactly; convert it to plain numbers, fixed-width text or "
        "datetime64 (array.astype), or allow pickle in the region"
    )
