"""A payload behind a word and a hash: for formats whose readers must not see damaged bytes. Knows no format."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Final

import xxhash

from daycache_ray.codecs.scalars import Payload

_SEAL: Final = struct.Struct("<8sQ")


def sealed(head: bytes, body: bytes | memoryview) -> bytes:
    """Return `head` of 8 bytes, u64 xxh3 of the body, and the body.

    >>> unsealed(sealed(b"frame   ", b"rows"), [b"frame   "])[0]
    b'frame   '
    """
    assert len(head) == 8
    return b"".join((_SEAL.pack(head, xxhash.xxh3_64_intdigest(body)), body))


def unsealed(payload: Payload, heads: Collection[bytes]) -> tuple[bytes, memoryview]:
    """Return head and body; raises ValueError or struct.error where they are not as they were."""
    head, digest = _SEAL.unpack_from(payload)
    body = memoryview(payload)[_SEAL.size :]
    if head not in heads:
        raise ValueError("it begins with none of " + ", ".join(str(known.rstrip(b"\0"), "ascii") for known in heads))
    if xxhash.xxh3_64_intdigest(body) != digest:
        raise ValueError("its bytes are not those that were written")
    return head, body
