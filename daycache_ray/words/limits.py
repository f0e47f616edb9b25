"""Every limit of the cache in one place, each with its reason."""

from typing import Final

SLOT_COUNT: Final = 16_384
"""Hash slots of a region; Redis Cluster's number, so that its clients can find the shard."""

KEY_BYTES_MAX: Final = 4_096
"""Longest key, encoded. Longer ones are a mistake nearly always, and every replica keeps them."""

SERVICE_BYTES_MAX: Final = 64
"""Longest name of a service; it is part of every stored key."""

STORE_KEY_BYTES_MAX: Final = 511
"""LMDB's limit for a key; longer ones are stored under their digest (see structures.store_keys)."""

INLINE_RECORD_BYTES_MAX: Final = 4_080
"""Header and value that still fit one page of the store beside LMDB's own 16 bytes."""

TAGS_MAX: Final = 16
"""Most tags of one entry: every reader looks up each of them."""

TAG_BYTES_MAX: Final = 128
"""Longest tag, encoded: it is part of the store key of its row."""

TAGS_BYTES_MAX: Final = 2 + TAGS_MAX * (TAG_BYTES_MAX + 1)
"""What the tags of one entry take."""

VALUE_BYTES_MAX: Final = 512 * 1024 * 1024
"""Largest value, encoded; Redis's limit. One message carries it, so memory on both sides must."""

COMPRESSED_BYTES_MIN: Final = 1_024
"""Smallest encoded value that a region with compression tries to make smaller: JSON-like ones of that size become half
of it for 2 us at writing and 1 us at reading; a read of a smaller one takes hardly longer than that in all."""

BATCH_OPERATIONS_MAX: Final = 10_000
"""Most operations in one message; the client splits larger batches."""

FRAME_BYTES_MAX: Final = VALUE_BYTES_MAX + 1024 * 1024
"""Largest frame that a socket accepts before it hangs up."""

TTL_S_MAX: Final = 10 * 365 * 86_400.0
"""Ten years; a longer TTL is a unit mistake (milliseconds) nearly always."""

REGION_NAME_BYTES_MAX: Final = 48
CLUSTER_NAME_BYTES_MAX: Final = 32
"""Names are parts of socket paths, and the kernel allows 107 bytes for those."""

SHARDS_MAX: Final = 1_024
REPLICAS_MAX: Final = 7

LOG_RECORDS_KEPT: Final = 4_096
LOG_BYTES_KEPT: Final = 8 * 1024 * 1024
"""Committed records that a log keeps for members that catch up; older ones get a copy of the store."""

DEDUPLICATION_CLIENTS_MAX: Final = 4_096
"""Clients a shard remembers; the one silent for longest is forgotten first."""
