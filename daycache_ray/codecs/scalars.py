"""Values that are one plain word: bytes, str, int, float, None and bool. Knows nothing of containers.

Every decoder takes bytes or a memoryview and raises only CorruptRecordError.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Final, TypeAlias

from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.records import Codec

Payload: TypeAlias = bytes | memoryview
Encoded: TypeAlias = tuple[int, bytes]

# Plain ints: an IntEnum's attribute costs more than the whole encoding of a float.
BYTES: Final = int(Codec.BYTES)
STR: Final = int(Codec.STR)
INT: Final = int(Codec.INT)
FLOAT: Final = int(Codec.FLOAT)
NONE: Final = int(Codec.NONE)
BOOL: Final = int(Codec.BOOL)

_DOUBLE: Final = struct.Struct("<d")
_pack_double = _DOUBLE.pack
_unpack_double = _DOUBLE.unpack
# CPython may refuse more than 640 digits, because its own conversion is quadratic; Decimal's is not, and is exact.
_DIGITS_DIRECT_MAX: Final = 600
_BITS_DIRECT_MAX: Final = 1900


def encode_bytes(value: bytes) -> Encoded:
    """Return the bytes themselves."""
    return BYTES, value


def decode_bytes(payload: Payload) -> bytes:
    """Return the payload as bytes, a copy only where it is a view."""
    return bytes(payload)


def encode_str(value: str) -> Encoded:
    """Return UTF-8; lone surrogates, which UTF-8 has no place for, as Python's `surrogatepass` writes them."""
    try:
        return STR, value.encode()
    except UnicodeEncodeError:
        return STR, value.encode("utf-8", "surrogatepass")


def decode_str(payload: Payload) -> str:
    """Return the text; raises CorruptRecordError where it is no UTF-8."""
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError:
        pass
    try:
        return str(payload, "utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptRecordError(f"a stored text is no UTF-8: {error.reason} at byte {error.start}") from error


def decimal_digits(value: int) -> bytes:
    """Return an integer of any size as decimal ASCII.

    >>> decimal_digits(-42)
    b'-42'
    """
    if value.bit_length() < _BITS_DIRECT_MAX:
        return b"%d" % value
    return str(Decimal(value)).encode()


def parse_digits(payload: Payload) -> int:
    """Return the integer; raises ValueError where the bytes are none."""
    if len(payload) < _DIGITS_DIRECT_MAX:
        return int(payload)
    text = str(payload, "ascii")
    if not text.removeprefix("-").isdecimal():
        raise ValueError("not an integer")
    return int(Decimal(text))


def encode_int(value: int) -> Encoded:
    """Return decimal ASCII, any size."""
    return INT, decimal_digits(value)


def decode_int(payload: Payload) -> int:
    """Return the number; raises CorruptRecordError where the payload is no decimal number."""
    try:
        return parse_digits(payload)
    except (ValueError, ArithmeticError) as error:
        raise CorruptRecordError("a stored integer is not decimal") from error


def encode_float(value: float) -> Encoded:
    """Return the eight bytes, so that NaN, infinities and -0.0 come back as they are."""
    return FLOAT, _pack_double(value)


def decode_float(payload: Payload) -> float:
    """Return the number; raises CorruptRecordError where the payload has not eight bytes."""
    try:
        return _unpack_double(payload)[0]  # type: ignore[no-any-return]
    except struct.error as error:
        raise CorruptRecordError(f"a stored float has {len(payload)} bytes instead of 8") from error


def encode_none(value: None) -> Encoded:
    """Return an empty payload."""
    return NONE, b""


def decode_none(payload: Payload) -> None:
    """Return None; raises CorruptRecordError where there is a payload."""
    if len(payload):
        raise CorruptRecordError(f"a stored None has {len(payload)} bytes instead of none")


def encode_bool(value: bool) -> Encoded:
    """Return one byte, 0 or 1."""
    return BOOL, b"\x01" if value else b"\x00"


def decode_bool(payload: Payload) -> bool:
    """Return the truth; raises CorruptRecordError where the payload is not one byte 0 or 1."""
    if len(payload) != 1 or payload[0] > 1:
        raise CorruptRecordError("a stored bool is not one byte 0 or 1")
    return payload[0] == 1
