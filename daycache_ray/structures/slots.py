"""From key to slot to shard, the same in every process and as Redis Cluster does it.

Source: Redis Cluster specification, "Hash tags" (CRC16 XMODEM modulo 16 384).
"""

from binascii import crc_hqx

from daycache_ray.words.limits import SLOT_COUNT


def slot_of(key: bytes) -> int:
    """Return the slot that owns `key`: 0 .. 16 383.

    Only what stands between the first `{` and the next `}` counts, when that is not empty, so that
    keys with one tag live together.

    >>> slot_of(b"123456789"), slot_of(b"{user1}.cart") == slot_of(b"user1")
    (12739, True)
    """
    assert key, "a key has at least one byte"
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) & (SLOT_COUNT - 1)


def shard_of_slot(slot: int, shard_count: int) -> int:
    """Return the shard that owns `slot`: contiguous ranges whose sizes differ by at most one.

    >>> [shard_of_slot(slot, 4) for slot in (0, 4095, 4096, 16383)]
    [0, 0, 1, 3]
    """
    assert 0 <= slot < SLOT_COUNT and shard_count >= 1
    return slot * shard_count >> 14
