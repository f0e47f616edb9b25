"""Which codec takes a value, and which one reads a payload. Knows families, not their formats.

A value is taken by its exact type: a subclass (an Enum, a namedtuple, a bool of your own) would come back as something
else, so it is refused with a hint, or pickled where the region allows it. NumPy, Torch and Arrow are imported only when
a value of theirs passes; a value can be theirs only in a process that has imported them already.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from daycache_ray.codecs import pickles, scalars
from daycache_ray.codecs.containers import MSGPACK, Containers
from daycache_ray.codecs.scalars import Encoded, Payload
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError
from daycache_ray.words.records import Codec

Encoder: TypeAlias = Callable[[Any], Encoded]
Decoder: TypeAlias = Callable[[Payload], Any]

_FAMILIES: Final = {
    int(Codec.NUMPY): "daycache_ray.codecs.arrays",
    int(Codec.ARROW): "daycache_ray.codecs.tables",
    int(Codec.TORCH): "daycache_ray.codecs.tensors",
}
_FAMILY_OF_TYPE: Final = {
    ("numpy", "ndarray"): int(Codec.NUMPY),
    ("pyarrow", "Table"): int(Codec.ARROW),
    ("pyarrow", "RecordBatch"): int(Codec.ARROW),
    ("torch", "Tensor"): int(Codec.TORCH),
}
_HINTS: Final = {
    "pandas": "store pyarrow.Table.from_pandas(value)",
    "polars": "store value.to_arrow()",
    "enum": "store value.value",
    "namedtuple": "store value._asdict() or tuple(value)",
    "dataclass": "store dataclasses.asdict(value)",
    "memoryview": "store bytes(value)",
    "model": "store value.model_dump()",
}


def encode(value: Any, *, allow_pickle: bool = False) -> Encoded:
    """Return (codec, payload) of a value, such that decoding gives an equal value of the same type.

    Args:
        value: None, bool, int, float, str, bytes, a container of such, a date or time, Decimal, UUID, a NumPy array or
            scalar, an Arrow table, a Torch tensor; anything else only with `allow_pickle`.
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
        InvalidValueError: the payload is a pickle and `allow_pickle` is False.
    """
    decoders = TRUSTING_DECODERS if allow_pickle else DECODERS
    if not 0 <= codec < len(decoders):
        raise CorruptRecordError(f"{codec} is no codec; was the record written by a later release?")
    return decoders[codec](payload)


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
    """Return the encoder of a type of NumPy, Arrow or Torch, and remember it; raises InvalidValueError."""
    codec = _FAMILY_OF_TYPE.get((cls.__module__.partition(".")[0], cls.__name__))
    if codec is None and _is_numpy_scalar(cls):
        codec = int(Codec.NUMPY)
    if codec is None:
        raise InvalidValueError(
            f"no codec takes a value of type '{cls.__module__}.{cls.__qualname__}' without changing it; "
            f"{_hint(cls)}, or, where all writers are trusted, set allow_pickle=True in the region"
        )
    encoder: Encoder = importlib.import_module(_FAMILIES[codec]).encode
    _ENCODERS[cls] = encoder
    return encoder


def _is_numpy_scalar(cls: type) -> bool:
    return cls.__module__ == "numpy" and any(base.__name__ == "generic" for base in cls.__mro__)


def _hint(cls: type) -> str:
    kind = cls.__module__.partition(".")[0]
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
    return _HINTS.get(kind, "store its data as dict, list, str, bytes, number or array")


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
