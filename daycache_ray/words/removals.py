"""Why an entry went, and what a listener hears of it. Refuses to know who counts and who listens."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from daycache_ray.words.types import Version


class RemovalCause(str, enum.Enum):
    """Why a version of an entry is no longer there; docs/expiry.md has what belongs to each."""

    EXPLICIT = "explicit"
    """`delete` or `clear`."""
    REPLACED = "replaced"
    """Another version of the key took its place; `touch` and `increment` write one too."""
    EXPIRED = "expired"
    EVICTED = "evicted"
    """Out for space."""
    INVALIDATED = "invalidated"
    """Out by a tag."""
    LOST = "lost"
    """It was acknowledged at EVENTUAL or WEAK, and a failover went on without it."""


CAUSES: Final = tuple(RemovalCause)
"""Their numbers, as they travel and are counted, are the places here: only ever add at the end."""

EXPLICIT: Final = CAUSES.index(RemovalCause.EXPLICIT)
REPLACED: Final = CAUSES.index(RemovalCause.REPLACED)
EXPIRED: Final = CAUSES.index(RemovalCause.EXPIRED)
EVICTED: Final = CAUSES.index(RemovalCause.EVICTED)
INVALIDATED: Final = CAUSES.index(RemovalCause.INVALIDATED)
LOST: Final = CAUSES.index(RemovalCause.LOST)


@dataclass(frozen=True, slots=True)
class Removal:
    """One version of an entry that went; its value is not kept.

    >>> Removal("AAPL", Version(1, 7), RemovalCause.EXPIRED, "market_data").cause.value
    'expired'
    """

    key: str | bytes
    version: Version
    cause: RemovalCause
    region: str
