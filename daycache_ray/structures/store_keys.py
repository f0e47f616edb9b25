"""The key under which a record is stored: slot (2 B, big endian), service (1 B length, name), key.

A slot is a contiguous range of the store. A store key longer than LMDB's 511 bytes keeps slot and
service and replaces the key by b"\\xff" and 16 bytes of BLAKE2b over it; the record then carries
the full key (Flag.LONG_KEY), which the reader compares.
"""

from hashlib import blake2b

from daycache_ray.structures.slots import slot_of
from daycache_ray.words.limits import STORE_KEY_BYTES_MAX


def service_prefix(service: bytes) -> bytes:
    """Return what stands between slot and key for a service.

    >>> service_prefix(b"hft")
    b'\\x03hft'
    """
    return bytes((len(service),)) + service


def store_key(key: bytes, prefix: bytes) -> bytes:
    """Return the store key of `key` for a service's `prefix`.

    >>> store_key(b"AAPL", service_prefix(b"hft"))
    b'5B\\x03hftAAPL'
    """
    full = slot_of(key).to_bytes(2, "big") + prefix + key
    if len(full) <= STORE_KEY_BYTES_MAX:
        return full
    return full[: 2 + len(prefix)] + b"\xff" + blake2b(key, digest_size=16).digest()


def slot_of_store_key(stored: bytes) -> int:
    """Return the slot in front of a store key."""
    return (stored[0] << 8) | stored[1]


def split_store_key(stored: bytes) -> tuple[bytes, bytes]:
    """Return (service, key) of a store key; for long keys the second is only the digest.

    >>> split_store_key(b'5B\\x03hftAAPL')
    (b'hft', b'AAPL')
    """
    end = 3 + stored[2]
    return stored[3:end], stored[end:]
