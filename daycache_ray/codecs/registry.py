"""Which codec takes a value, and which one reads a payload. Knows families, not their formats.

A value is taken by its exact type: a subclass (a str or a dict of your own) would come back as something else, so it is
refused with a hint, or pickled where the region allows it. Enums, dataclasses, named tuples and pydantic models are
taken once they are registered. NumPy, Torch, Arrow, pandas and polars are imported only when a value of theirs passes;
a value can be theirs only in a process that has imported them already.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from daycache_ray.codecs import pickles, scalars
from daycache_ray.codecs.containers import MSGPACK, Containers
from daycache_ray.codecs.registered import name_of, shape_of
from daycache_ray.codecs.scalars import Encoded, Payload
from daycache_ray.words.errors import CorruptRecordError, InvalidArgumentError, InvalidValueError
from daycache_ray.words.records import Codec

Encoder: TypeAlias = Callable[[Any], Encoded]
Decoder: TypeAlias = Callable[[Payload], Any]
_Class = TypeVar("_Class", bound=type)

_FAMILIES: Final = {
    int(Codec.NUMPY): "daycache_ray.codecs.arrays",
    int(Codec.ARROW): "daycache_ray.codecs.tables",
    int(Codec.TORCH): "daycache_ray.codecs.tensors",
    int(Codec.PANDAS): "daycache_ray.codecs.pandas_frames",
    int(Codec.POLARS): "daycache_ray.codecs.polars_frames",
}
_FAMILY_OF_TYPE: Final = {
    ("numpy", "ndarray"): int(Codec.NUMPY),
    ("numpy", "generic"): int(Codec.NUMPY),
    ("pyarrow", "Table"): int(Codec.ARROW),
    ("pyarrow", "RecordBatch"): int(Codec.ARROW),
    ("pyarrow", "Array"): int(Codec.ARROW),
    ("pyarrow", "ChunkedArray"): int(Codec.ARROW),
    ("torch", "Tensor"): int(Codec.TORCH),
    ("pandas", "DataFrame"): int(Codec.PANDAS),
    ("pandas", "Series"): int(Codec.PANDAS),
    ("polars", "DataFrame"): int(Codec.POLARS),
    ("polars", "Series"): int(Codec.POLARS),
}
_OPEN_FAMILIES: Final = {("numpy", "generic"), ("pyarrow", "Array")}
"""Types whose subclasses, by their own library, are of the family too; everywhere else the exact type counts."""
_OWN_SCALARS: Final = ("numpy", "pyarrow", "ml_dtypes")
_REGISTER: Final = "call daycache_ray.register_type({name}), or "
_HINTS: Final = {
    "enum": _REGISTER + "store value.value",
    "namedtuple": _REGISTER + "store value._asdict() or tuple(value)",
    "dataclass": _REGISTER + "store dataclasses.asdict(value)",
    "model": _REGISTER + "store value.model_dump()",
    "memoryview": "store bytes(value)",
}


def encode(value: Any, *, allow_pickle: bool = False) -> Encoded:
    """Return (codec, payload) of a value, such that decoding gives an equal value of the same type.

    Args:
        value: None, bool, int, float, str, bytes, a container of such, a date or time, Decimal, UUID, a NumPy array or
            scalar, an Arrow table, batch or array, a Torch tensor, a frame or series of pandas or polars, a value of a
            registered type; anything else only with `allow_pickle`.
        allow_pickle: whether a value that no codec takes may be pickled.

    Raises:
        InvalidValueError: no codec takes the value; the message says what to store instead.

    >>> encode("AAPL")
    (1, b'AAPL')
    >>> decode(*encode((1, {"bid": 150.25})))
    (1, {'bid': 150.25})
    """
    encoder = _ENCODERS.get(type(value))
    try:
        if encoder is None:
            return _find_encoder(type(value))(value)
        return encoder(value)
    except InvalidValueError:
        if allow_pickle and TRUSTING_DECODERS[pickles.PICKLE] is not pickles.refuse:
            return pickles.encode(value)
        raise


def decode(codec: int, payload: Payload, *, allow_pickle: bool = False) -> Any:
    """Return the value of a payload; arrays and tables lie on the payload and are read-only.

    Raises:
        CorruptRecordError: the bytes cannot be ours.
        UnknownTypeError: it is of a type that this process has not registered, or of a library that it lacks.
        InvalidValueError: the payload is a pickle and `allow_pickle` is False.
    """
    decoders = TRUSTING_DECODERS if allow_pickle else DECODERS
    if not 0 <= codec < len(decoders):
        raise CorruptRecordError(f"{codec} is no codec; was the record written by a later release?")
    return decoders[codec](payload)


def register_type(cls: _Class, name: str | None = None) -> _Class:
    """Let values of `cls` be stored as they are, and read by every process that has registered it too; returns `cls`.

    Call it where the class is defined, or write it as a decorator, so that whoever can import the class can read its
    values. The bytes carry the name and the data, no code: neither constructor nor validator runs at reading, fields
    come back as they were. A field that the class gained since needs a default.

    Args:
        cls: an enum (stored by the names of its members), a dataclass, a named tuple or a pydantic model.
        name: what the values are stored under, 1 to 200 bytes; by default module and class, 'shop.orders.Order'. A
            class that moves keeps its values where it is registered under its former name too; the last is written.

    Raises:
        InvalidArgumentError: another kind of class, a name that is taken by another class, or a class of `__main__` or
            of a function without a name: its own differs between programs.

    >>> import enum
    >>> @register_type
    ... class Side(enum.Enum):
    ...     BUY = 1
    >>> decode(*encode({"side": Side.BUY}))
    {'side': <Side.BUY: 1>}
    """
    shape = shape_of(cls)
    name = name_of(cls, name)
    known = _TYPES.get(name)
    # A class that is defined anew, by a notebook's cell or a reload, takes the place of its former self.
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise InvalidArgumentError(
            f"name: '{name}' stands for '{known.__module__}.{known.__qualname__}' already; choose another"
        )
    _TYPES[name] = cls
    _CONTAINERS.register(cls, name, shape)
    _ENCODERS[cls] = _CONTAINERS.encode
    return cls


def _unknown(payload: Payload) -> Any:
    raise CorruptRecordError("the record has a codec that this release does not know; was it written by a later one?")


def _lazy(decoders: list[Decoder], codec: int) -> Decoder:
    """Return a decoder that loads its family when it is first called, and then puts the real one in its place."""

    def decode_first(payload: Payload) -> Any:
        decoders[codec] = importlib.import_module(_FAMILIES[codec]).decode
        return decoders[codec](payload)

    return decode_first


def _encode_guest(value: Any) -> Encoded:
    return _find_encoder(type(value))(value)


def _decode_guest(codec: int, payload: Payload) -> Any:
    if codec not in _FAMILIES:
        raise CorruptRecordError(f"a stored container has an item of the unknown codec {codec}")
    return DECODERS[codec](payload)


def _find_encoder(cls: type) -> Encoder:
    """Return the encoder of a type of a library's, or of one that is registered; raises InvalidValueError."""
    encoder = _ENCODERS.get(cls)
    if encoder is not None:
        return encoder
    codec = _family_of(cls)
    if codec is None:
        raise InvalidValueError(
            f"no codec takes a value of type '{cls.__module__}.{cls.__qualname__}' without changing it; "
            f"{_hint(cls)}, or, where all writers are trusted, set allow_pickle=True in the region"
        )
    found: Encoder = importlib.import_module(_FAMILIES[codec]).encode
    _ENCODERS[cls] = found
    return found


def _family_of(cls: type) -> int | None:
    library = cls.__module__.partition(".")[0]
    codec = _FAMILY_OF_TYPE.get((library, cls.__name__))
    if codec is None and library in _OWN_SCALARS:
        kinds = {(base.__module__.partition(".")[0], base.__name__) for base in cls.__mro__} & _OPEN_FAMILIES
        codec = _FAMILY_OF_TYPE[kinds.pop()] if kinds else None
    return codec


def _hint(cls: type) -> str:
    kind = ""
    if any(base.__module__ == "enum" for base in cls.__mro__):
        kind = "enum"
    elif issubclass(cls, tuple) and hasattr(cls, "_asdict"):
        kind = "namedtuple"
    elif hasattr(cls, "__dataclass_fields__"):
        kind = "dataclass"
    elif hasattr(cls, "model_dump"):
        kind = "model"
    elif cls is memoryview:
        kind = "memoryview"
    return _HINTS.get(kind, "store its data as dict, list, str, bytes, number or array").format(name=cls.__name__)


_CONTAINERS: Final = Containers(_encode_guest, _decode_guest)

_ENCODERS: Final[dict[type, Encoder]] = {
    **dict.fromkeys(_CONTAINERS.types, _CONTAINERS.encode),
    bytes: scalars.encode_bytes,
    str: scalars.encode_str,
    int: scalars.encode_int,
    float: scalars.encode_float,
    type(None): scalars.encode_none,
    bool: scalars.encode_bool,
    dict: _CONTAINERS.encode_dict,
    list: _CONTAINERS.encode_list,
}


_TYPES: Final[dict[str, type]] = {}
"""Registered types by the names that they are stored under."""


def _decoders(decode_pickle: Decoder) -> list[Decoder]:
    # 256 places, so that any byte of a header finds a decoder, if only one that raises CorruptRecordError.
    decoders: list[Decoder] = [_unknown] * 256
    decoders[scalars.BYTES] = scalars.decode_bytes
    decoders[scalars.STR] = scalars.decode_str
    decoders[scalars.INT] = scalars.decode_int
    decoders[scalars.FLOAT] = scalars.decode_float
    decoders[scalars.NONE] = scalars.decode_none
    decoders[scalars.BOOL] = scalars.decode_bool
    decoders[MSGPACK] = _CONTAINERS.decode
    decoders[pickles.PICKLE] = decode_pickle
    for codec in _FAMILIES:
        decoders[codec] = _lazy(decoders, codec)
    return decoders


DECODERS: Final[list[Decoder]] = _decoders(pickles.refuse)
"""By codec, for the hot path: `DECODERS[header.codec](payload)`. Keep the list, not its items: families load late."""

TRUSTING_DECODERS: Final[list[Decoder]] = _decoders(pickles.decode)
"""The same for regions with `allow_pickle`."""


def forbid_pickle() -> None:
    """From now on this process neither writes nor reads a pickle, whatever a region allows.

    For processes that stand between a cache and strangers; there is no way back.
    """
    TRUSTING_DECODERS[pickles.PICKLE] = pickles.refuse
