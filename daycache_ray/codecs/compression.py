"""Payloads made smaller, where that is worth it, by LZ4 or Zstandard. Knows bytes, not values.

A payload is tried from COMPRESSED_BYTES_MIN on, and kept as it was unless a tenth is saved: random bytes cost 60 us
(LZ4) to 110 us (Zstandard) a megabyte to find that out. The record says so with Flag.COMPRESSED; its codec is still
that of the value. Reading checks a hash before it trusts the bytes, and makes no more than VALUE_BYTES_MAX of them.

    method u8 (1 LZ4 block, 2 Zstandard frame) | 3 zeros | u32 low half of xxh3 of the rest | u64 size before | the rest
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import xxhash

from daycache_ray.codecs.scalars import INT, Payload
from daycache_ray.words.errors import CorruptRecordError
from daycache_ray.words.limits import COMPRESSED_BYTES_MIN, VALUE_BYTES_MAX
from daycache_ray.words.records import Flag

Compress: TypeAlias = Callable[[int, bytes, int], tuple[bytes, int]]

COMPRESSED: Final = int(Flag.COMPRESSED)
SAVED_RATIO_MIN: Final = 0.1
"""Part that must be saved: below it the time of every read buys nothing."""

_HEAD: Final = struct.Struct("<B3xIQ")
_LZ4, _ZSTD = 1, 2
_ZSTD_LEVEL: Final = 1
"""Higher levels saved no more on quotes, tables and columns, and took up to twice the time."""

_LOW: Final = 0xFFFF_FFFF
_LZ4_RATIO_MAX: Final = 256
"""More than a byte of an LZ4 block can ever become: a larger claim is refused before memory is asked for."""


class _Zstandard(threading.local):
    """A thread's own compressor and decompressor: making one takes 20 times as long as using it on a small value."""

    def __init__(self) -> None:
        import zstandard

        self.compress = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress
        self.size_of = zstandard.frame_content_size


_zstandard: _Zstandard | None = None


def compressor_of(name: str) -> Compress | None:
    """Return what makes (payload, flags) of (codec, payload, flags) in a region of that `compression`; None for none.

    >>> payload, flags = compressor_of("lz4")(1, b"quote " * 1000, 0)
    >>> flags == COMPRESSED, len(payload) < 100, decompressed(payload) == b"quote " * 1000
    (True, True, True)
    """
    if name == "none":
        return None
    method, pack = {"lz4": (_LZ4, _lz4_compress), "zstd": (_ZSTD, _zstd_compress)}[name]

    def compress(codec: int, payload: bytes, flags: int) -> tuple[bytes, int]:
        # An integer stays readable, because the primary increments it.
        if len(payload) < COMPRESSED_BYTES_MIN or codec == INT:
            return payload, flags
        body = pack(payload)
        if len(body) + _HEAD.size > len(payload) * (1 - SAVED_RATIO_MIN):
            return payload, flags
        head = _HEAD.pack(method, xxhash.xxh3_64_intdigest(body) & _LOW, len(payload))
        return head + body, flags | COMPRESSED

    return compress


def decompressed(payload: Payload) -> bytes:
    """Return the payload of a record with Flag.COMPRESSED as it was; raises CorruptRecordError."""
    try:
        method, digest, size = _HEAD.unpack_from(payload)
        body = memoryview(payload)[_HEAD.size :]
        if xxhash.xxh3_64_intdigest(body) & _LOW != digest:
            raise ValueError("its bytes are not those that were written")
        if size > VALUE_BYTES_MAX:
            raise ValueError(f"it claims {size} bytes, a value has at most {VALUE_BYTES_MAX}")
        unpack = {_LZ4: _lz4_decompress, _ZSTD: _zstd_decompress}.get(method)
        if unpack is None:
            raise ValueError(f"it is compressed by a method {method} that this release does not know")
        found: bytes = unpack(body, size)
        if len(found) != size:
            raise ValueError(f"it has {len(found)} bytes instead of {size}")
    except Exception as error:
        raise CorruptRecordError(f"a compressed value cannot be read: {error}") from error
    return found


def _lz4_compress(payload: bytes) -> bytes:
    import lz4.block

    return lz4.block.compress(payload, store_size=False)  # type: ignore[no-any-return]


def _lz4_decompress(body: memoryview, size: int) -> Any:
    import lz4.block

    if size > len(body) * _LZ4_RATIO_MAX:
        raise ValueError(f"{len(body)} bytes cannot become {size}")
    return lz4.block.decompress(body, uncompressed_size=size)


def _own_zstandard() -> _Zstandard:
    global _zstandard
    if _zstandard is None:
        _zstandard = _Zstandard()
    return _zstandard


def _zstd_compress(payload: bytes) -> bytes:
    return _own_zstandard().compress(payload)


def _zstd_decompress(body: memoryview, size: int) -> Any:
    own = _own_zstandard()
    # A frame's own word on its size would win over max_output_size.
    if own.size_of(body) != size:
        raise ValueError("its frame is of another size than its record says")
    return own.decompress(body, max_output_size=size, allow_extra_data=False)
