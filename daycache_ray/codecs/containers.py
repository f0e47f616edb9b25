"""Containers and what they hold, as MessagePack. What comes back equals what went in, type included.

MessagePack itself knows None, bool, int of 64 bits, float, str, bytes, list, and dict with such keys. Everything
else travels as an extension (the table `_Ext`), because msgspec alone would return a tuple as a list, a set as a list
and a zoned time as UTC. A type that is neither listed nor registered is refused, never approximated.
"""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from gc import get_referents
from itertools import chain, compress
from typing import Any, Final

import msgspec

from daycache_ray.codecs.moments import (
    pack_date,
    pack_datetime,
    pack_time,
    pack_timedelta,
    unpack_date,
    unpack_datetime,
    unpack_time,
    unpack_timedelta,
)
from daycache_ray.codecs.registered import Shape
from daycache_ray.codecs.scalars import Encoded, Payload, decimal_digits, parse_digits
from daycache_ray.words.errors import CacheError, CorruptRecordError, InvalidValueError, UnknownTypeError
from daycache_ray.words.records import Codec

MSGPACK: Final = int(Codec.MSGPACK)
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_EXACT: Final = _PLAIN | {list, dict}
"""What MessagePack itself gives back as it was, whatever of it stands in what."""
_is_container: Final = frozenset({list, dict}).__contains__
_LEVELS_LOOKED_AT: Final = 32
_MANY: Final = 16
"""From so many items a look at all of a level at once is cheaper than at one after another."""
_UNIQUE_FROM: Final = 256
"""From so many containers on a level the same one twice is looked for: one that contains itself would grow on."""
_NESTING_MAX: Final = 100
"""Deeper values are refused: decoding recurses, and a reader's stack may be fuller than the writer's."""
_CAREFUL: Final = 1_000_000
"""Added to the depth of a walk that also looks for the integers and texts that MessagePack cannot hold."""


class _Ext:
    """Extension codes; part of the format, never reuse one. msgspec takes nothing but plain ints here."""

    TUPLE = 1
    SET = 2
    FROZENSET = 3
    PAIRS = 4
    """A dict with keys that are not plain, as a flat list of key, value, key, value."""
    BIG_INT = 5
    ROUGH_STR = 6
    """A str with lone surrogates."""
    BYTEARRAY = 7
    COMPLEX = 8
    DECIMAL = 9
    DATETIME = 10
    DATE = 11
    TIME = 12
    TIMEDELTA = 13
    UUID = 14
    OBJECT = 15
    """[name of a registered type, its data]."""
    OTHER_CODEC = 100
    """100 + codec: a payload of another codec."""


class Containers:
    """Encoder and decoder of containers; `other_*` are how values of other families are nested.

    `encode_other(value)` gives (codec, payload) or raises InvalidValueError; `decode_other(codec, payload)` undoes it.
    """

    def __init__(self, encode_other: Callable[[Any], Encoded], decode_other: Callable[[int, Payload], Any]) -> None:
        self._encode_other = encode_other
        self._decode_other = decode_other
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(ext_hook=self._unpack).decode
        self._packers: dict[type, Callable[[Any, int], Any]] = {
            list: self._pack_list,
            dict: self._pack_dict,
            tuple: self._pack_tuple,
            set: lambda v, depth: self._nested(_Ext.SET, v, depth),
            frozenset: lambda v, depth: self._nested(_Ext.FROZENSET, v, depth),
            bytearray: lambda v, depth: msgspec.msgpack.Ext(_Ext.BYTEARRAY, v),
            complex: lambda v, depth: msgspec.msgpack.Ext(_Ext.COMPLEX, struct.pack("<dd", v.real, v.imag)),
            Decimal: lambda v, depth: msgspec.msgpack.Ext(_Ext.DECIMAL, str(v).encode()),
            dt.datetime: lambda v, depth: msgspec.msgpack.Ext(_Ext.DATETIME, pack_datetime(v)),
            dt.date: lambda v, depth: msgspec.msgpack.Ext(_Ext.DATE, pack_date(v)),
            dt.time: lambda v, depth: msgspec.msgpack.Ext(_Ext.TIME, pack_time(v)),
            dt.timedelta: lambda v, depth: msgspec.msgpack.Ext(_Ext.TIMEDELTA, pack_timedelta(v)),
            uuid.UUID: lambda v, depth: msgspec.msgpack.Ext(_Ext.UUID, v.bytes),
        }
        self._unpackers: dict[int, Callable[[memoryview], Any]] = {
            _Ext.TUPLE: lambda data: tuple(self._items(data)),
            _Ext.SET: lambda data: set(self._items(data)),
            _Ext.FROZENSET: lambda data: frozenset(self._items(data)),
            _Ext.PAIRS: self._unpack_pairs,
            _Ext.BIG_INT: parse_digits,
            _Ext.ROUGH_STR: lambda data: str(data, "utf-8", "surrogatepass"),
            _Ext.BYTEARRAY: bytearray,
            _Ext.COMPLEX: lambda data: complex(*struct.unpack("<dd", data)),
            _Ext.DECIMAL: lambda data: Decimal(str(data, "ascii")),
            _Ext.DATETIME: unpack_datetime,
            _Ext.DATE: unpack_date,
            _Ext.TIME: unpack_time,
            _Ext.TIMEDELTA: unpack_timedelta,
            _Ext.UUID: lambda data: uuid.UUID(bytes=bytes(data)),
            _Ext.OBJECT: self._unpack_object,
        }
        self._shapes: dict[str, Shape] = {}

    @property
    def types(self) -> tuple[type, ...]:
        """The types that are stored as MessagePack when they stand alone."""
        return tuple(self._packers)

    def register(self, cls: type, name: str, shape: Shape) -> None:
        """Take values of `cls` from now on, and understand values that are stored under `name`."""
        take = shape.take
        self._packers[cls] = lambda v, depth: self._nested(_Ext.OBJECT, (name, take(v)), depth)
        self._shapes[name] = shape

    def encode(self, value: Any) -> Encoded:
        """Return a container or one of its guests as MessagePack; raises InvalidValueError for what is not exact."""
        try:
            return MSGPACK, self._encode(self._pack(value, 0))
        except (OverflowError, UnicodeEncodeError):
            # A big integer or a lone surrogate somewhere: rare, so nobody else pays for looking.
            return MSGPACK, self._encode(self._pack(value, _CAREFUL))

    def encode_dict(self, value: dict[Any, Any]) -> Encoded:
        """Return a dict; one of plain keys and values, the most common value of all, needs no walk."""
        if (_PLAIN.issuperset(map(type, value.values())) and _PLAIN.issuperset(map(type, value))) or _is_plain(value):
            try:
                return MSGPACK, self._encode(value)
            except (OverflowError, UnicodeEncodeError):
                pass  # A big integer or a lone surrogate: the walk finds it.
        return self.encode(value)

    def encode_list(self, value: list[Any]) -> Encoded:
        """Return a list; one of plain values needs no walk."""
        if _PLAIN.issuperset(map(type, value)) or _is_plain(value):
            try:
                return MSGPACK, self._encode(value)
            except (OverflowError, UnicodeEncodeError):
                pass
        return self.encode(value)

    def decode(self, payload: Payload) -> Any:
        """Return the container; raises CorruptRecordError for bytes that cannot be ours, and UnknownTypeError."""
        try:
            return self._decode(payload)
        except CacheError:
            raise
        except Exception as error:
            raise CorruptRecordError(f"a stored container cannot be read: {type(error).__name__}: {error}") from error

    def _pack(self, value: Any, depth: int) -> Any:
        cls = type(value)
        if cls in _PLAIN:
            return value if depth < _CAREFUL else _pack_plain(value)
        packer = self._packers.get(cls)
        if packer is not None:
            return packer(value, depth + 1)
        codec, payload = self._encode_other(value)
        return msgspec.msgpack.Ext(_Ext.OTHER_CODEC + codec, payload)

    def _pack_list(self, value: Any, depth: int) -> list[Any]:
        if depth % _CAREFUL > _NESTING_MAX:
            raise InvalidValueError(
                f"the value is nested more than {_NESTING_MAX} deep, or contains itself; flatten it, or store its parts"
            )
        pack = self._pack
        if depth < _CAREFUL:
            plain = _PLAIN
            return [item if type(item) in plain else pack(item, depth) for item in value]
        return [pack(item, depth) for item in value]

    def _pack_dict(self, value: dict[Any, Any], depth: int) -> Any:
        if not _PLAIN.issuperset(map(type, value)):
            return self._nested(_Ext.PAIRS, chain.from_iterable(value.items()), depth)
        if depth < _CAREFUL:
            if _PLAIN.issuperset(map(type, value.values())):
                return value
        elif any(type(_pack_plain(key)) is msgspec.msgpack.Ext for key in value):
            return self._nested(_Ext.PAIRS, chain.from_iterable(value.items()), depth)
        return dict(zip(value, self._pack_list(value.values(), depth), strict=True))

    def _pack_tuple(self, value: tuple[Any, ...], depth: int) -> msgspec.msgpack.Ext:
        if depth < _NESTING_MAX and _PLAIN.issuperset(map(type, value)):
            return msgspec.msgpack.Ext(_Ext.TUPLE, self._encode(value))
        return self._nested(_Ext.TUPLE, value, depth)

    def _nested(self, code: int, items: Any, depth: int) -> msgspec.msgpack.Ext:
        return msgspec.msgpack.Ext(code, self._encode(self._pack_list(items, depth)))

    def _unpack(self, code: int, data: memoryview) -> Any:
        unpacker = self._unpackers.get(code)
        if unpacker is not None:
            return unpacker(data)
        if code <= _Ext.OTHER_CODEC:
            raise CorruptRecordError(f"a stored container has an item of the unknown kind {code}")
        return self._decode_other(code - _Ext.OTHER_CODEC, data)

    def _items(self, data: memoryview) -> list[Any]:
        items = self._decode(data)
        if type(items) is not list:
            raise CorruptRecordError("a stored tuple or set is not a list inside")
        return items

    def _unpack_pairs(self, data: memoryview) -> dict[Any, Any]:
        items = self._items(data)
        return dict(zip(items[::2], items[1::2], strict=True))

    def _unpack_object(self, data: memoryview) -> Any:
        name, stored = self._items(data)
        shape = self._shapes.get(name)
        if shape is None:
            raise UnknownTypeError(
                f"the entry holds a value of the type '{name}', which this process has not registered: call "
                f"daycache_ray.register_type(cls) where the class is defined, or register_type(cls, name={name!r})"
            )
        return shape.make(stored)


def _is_plain(value: list[Any] | dict[Any, Any], levels: int = _LEVELS_LOOKED_AT) -> bool:
    """Return whether nothing but plain values, lists and dicts is in a container; False where a look does not tell."""
    if not levels:
        return False
    if len(value) >= _MANY:
        return _are_plain(value)
    items: Any = value
    if type(value) is dict:
        if not _PLAIN.issuperset(map(type, value)):
            return False
        items = value.values()
    for item in items:
        kind = type(item)
        if kind not in _PLAIN and not ((kind is dict or kind is list) and _is_plain(item, levels - 1)):
            return False
    return True


def _are_plain(value: list[Any] | dict[Any, Any]) -> bool:
    """Return the same for a large one, level by level, without a step of the interpreter for each item.

    The garbage collector's own walk leaves out the keys of a dict only where all of them are of type str.
    """
    containers: list[Any] = [value]
    for _ in range(_LEVELS_LOOKED_AT):
        items = get_referents(*containers)
        kinds = set(map(type, items))
        if not kinds <= _EXACT:
            return False
        if kinds <= _PLAIN:
            return True
        containers = list(compress(items, map(_is_container, map(type, items)))) if kinds & _PLAIN else items
        if len(containers) > _UNIQUE_FROM and len(set(map(id, containers))) < len(containers):
            return False
    return False


def _pack_plain(value: Any) -> Any:
    if type(value) is int and not -(2**63) <= value < 2**64:
        return msgspec.msgpack.Ext(_Ext.BIG_INT, decimal_digits(value))
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return msgspec.msgpack.Ext(_Ext.ROUGH_STR, value.encode("utf-8", "surrogatepass"))
    return value
