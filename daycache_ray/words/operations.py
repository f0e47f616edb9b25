"""What a client says to a replica's socket, and what it hears. One frame holds one message.

Requests carry an `id` chosen by the client; answers repeat it and may come in any order. A key here
is always a store key (see structures.store_keys), a value is always encoded (see codecs).
"""

from __future__ import annotations

import enum
from typing import Any, Final, TypeAlias

import msgspec

PROTOCOL_VERSION: Final = 1


class Level(enum.IntEnum):
    """Consistency levels as they travel; the order is that of strength."""

    WEAK = 0
    EVENTUAL = 1
    STRONG = 2


class OperationKind(enum.IntEnum):
    """What a write does; all are evaluated in log order."""

    SET = 1
    ADD = 2
    """Only where there is no visible entry."""
    DELETE = 3
    TOUCH = 4
    """A new expiry for the entry that is there."""
    INCREMENT = 5
    """Adds `delta`; a missing entry counts as 0."""
    COMPARE_AND_SET = 6
    """Only where the entry's version is (`expected_epoch`, `expected_lsn`); (0, 0) means absent."""
    FORGET = 7
    """Removes the entry from the cache alone; what waits to be written to the origin stays."""
    INVALIDATE_TAG = 8
    """`key` is that of a tag's row: entries with the tag that were written before are gone. `number`: how many."""
    EXPIRE_TAG = 9
    """The same, but they are over only, as if they had expired now."""


class Operation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One write. `ttl_ns` 0 means never; -1: keep what the entry has (INCREMENT); below: until the wall-clock
    nanoseconds -`ttl_ns`, whatever the clock says now.

    `priority` is a records.Priority; TOUCH, and INCREMENT of an entry, keep what the entry has.
    """

    kind: int
    key: bytes
    value: bytes = b""
    codec: int = 0
    flags: int = 0
    ttl_ns: int = 0
    expected_epoch: int = 0
    expected_lsn: int = 0
    delta: int | float = 0
    cost_us: int = 0
    priority: int = 0


class Outcome(enum.IntEnum):
    """How one operation ended."""

    DONE = 1
    NOT_DONE = 2
    """The condition did not hold: `add` of a present key, `delete` or `touch` of an absent one."""
    CONFLICT = 3
    """COMPARE_AND_SET: `epoch` and `lsn` are the current version, (0, 0) when absent."""
    NOT_A_NUMBER = 4
    """INCREMENT of something else, or beyond 64 bits."""
    VOID = 5
    """A fill whose token was no longer valid: the value goes to the caller only."""
    CORRUPT = 6
    """The entry's value cannot be read; nothing changed."""


class OperationResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The outcome of one operation; `number` is INCREMENT's new value."""

    outcome: int
    epoch: int = 0
    lsn: int = 0
    number: int | float = 0


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """First on every connection. `client` is random 63 bits for the life of one client object."""

    id: int
    protocol_version: int
    cluster: str
    token: str
    client: int
    service: str


class Read(msgspec.Struct, frozen=True, array_like=True, tag="read"):
    """Asks for records. STRONG is parked until what it would see is committed.

    EVENTUAL is refused by a secondary whose applied LSN is below `session_lsn`. `stale`: those that are
    expired and not removed yet are wanted too.
    """

    id: int
    region: str
    shard: int
    keys: list[bytes]
    level: int
    session_epoch: int = 0
    session_lsn: int = 0
    stale: bool = False


class Write(msgspec.Struct, frozen=True, array_like=True, tag="write"):
    """Operations, applied in order; the whole message has one level and one acknowledgement.

    Operation i has the sequence `first_sequence + i` of `client`: repeating the message is harmless.
    """

    id: int
    region: str
    shard: int
    operations: list[Operation]
    level: int
    client: int
    first_sequence: int
    unanswered_sequence: int
    """The lowest sequence whose answer the client still waits for; older ones may be forgotten."""


class FillAsk(msgspec.Struct, frozen=True, array_like=True, tag="fill-ask"):
    """Asks for the right to load a key; answered at once, or when the one who has it is done.

    `wait` False: when somebody else loads it, say so at once (a prefetch never waits). `refresh`: also
    where there is an entry. `write`: it is to write the origin, and takes the right from a loader.
    """

    id: int
    region: str
    shard: int
    key: bytes
    deadline_ms: int
    wait: bool = True
    refresh: bool = False
    write: bool = False


class FillStore(msgspec.Struct, frozen=True, array_like=True, tag="fill-store"):
    """What the loader gave, or the writer took. Refused (VOID) when the token was voided by a write or its deadline."""

    id: int
    region: str
    shard: int
    number: int
    operation: Operation
    client: int
    sequence: int
    level: int = Level.EVENTUAL


class FillFail(msgspec.Struct, frozen=True, array_like=True, tag="fill-fail"):
    """The loader raised: the waiters hear `message`; the next one may try."""

    id: int
    region: str
    shard: int
    number: int
    message: str


class Scan(msgspec.Struct, frozen=True, array_like=True, tag="scan"):
    """Asks for keys of one service with a prefix, in store order, after `cursor`."""

    id: int
    region: str
    shard: int
    service: str
    prefix: bytes
    cursor: bytes
    limit: int


class AskStatistics(msgspec.Struct, frozen=True, array_like=True, tag="statistics"):
    """Asks a replica for its `ShardStatistics`."""

    id: int
    region: str
    shard: int


class TakeRemovals(msgspec.Struct, frozen=True, array_like=True, tag="take-removals"):
    """Asks a primary for what went since the last time; whoever asks first is followed from then on.

    `follower` is random 63 bits of one listener; bit i of `causes` says whether it wants cause number i (see
    words.removals). `given_count`: how many it has got from this replica. `count_max` 0: it wants no more.
    """

    id: int
    region: str
    shard: int
    service: str
    follower: int
    causes: int
    given_count: int
    count_max: int


class LettersAction(enum.IntEnum):
    """What is wanted of dead letters."""

    LIST = 0
    RETRY = 1
    DROP = 2


class AskLetters(msgspec.Struct, frozen=True, array_like=True, tag="letters"):
    """Asks a primary for its dead letters of one service, or to try or drop those of `keys`, store keys."""

    id: int
    region: str
    shard: int
    service: str
    action: int
    keys: list[bytes] = []


class Accesses(msgspec.Struct, frozen=True, array_like=True, tag="accesses"):
    """What one client asked for, in order; to the prefetcher's socket. No answer.

    `hits[i]` is 1 where key i was there; `at_ms` are wall-clock milliseconds of the batch's end.
    """

    region: str
    service: str
    client: int
    at_ms: int
    keys: list[bytes]
    hits: bytes


Request: TypeAlias = (
    Hello | Read | Write | FillAsk | FillStore | FillFail | Scan | AskStatistics | AskLetters | TakeRemovals | Accesses
)


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The hello was right."""

    id: int
    seat: int
    epoch: int


class Found(msgspec.Struct, frozen=True, array_like=True, tag="found"):
    """Records with header, in the order of the keys asked for; None is a miss.

    `age_ns`: everything acknowledged so long ago is in here, 0 where that is all; -1: not known.
    """

    id: int
    records: list[bytes | None]
    applied_epoch: int
    applied_lsn: int
    age_ns: int = -1


class Written(msgspec.Struct, frozen=True, array_like=True, tag="written"):
    """One result per operation."""

    id: int
    results: list[OperationResult]


class FillAnswer(msgspec.Struct, frozen=True, array_like=True, tag="fill"):
    """`number` > 0: load it, you have the token. 0: read again (it was stored, or void). -1: busy."""

    id: int
    number: int
    error: str = ""
    """What the loader said when the load failed that this request waited for."""


class Scanned(msgspec.Struct, frozen=True, array_like=True, tag="scanned"):
    """Full user keys and the cursor to go on from; an empty cursor is the end."""

    id: int
    keys: list[bytes]
    cursor: bytes


class Removed(msgspec.Struct, frozen=True, array_like=True, tag="removed"):
    """What went: (user key, epoch, LSN, number of the cause), oldest first.

    `begun`: the follower was not known here, so what went before is not in it. `given_count` and `lost_count`
    are sums since then.
    """

    id: int
    removals: list[tuple[bytes, int, int, int]]
    begun: bool
    given_count: int
    lost_count: int


class StatisticsAnswer(msgspec.Struct, frozen=True, array_like=True, tag="statistics-answer"):
    """The fields of `ShardStatistics`."""

    id: int
    fields: dict[str, Any]


class LettersAnswer(msgspec.Struct, frozen=True, array_like=True, tag="letters-answer"):
    """(store key, epoch, lsn, error, attempts, record with header) of each; `count`: how many were tried or dropped."""

    id: int
    letters: list[tuple[bytes, int, int, str, int, bytes]]
    count: int


class Failure(msgspec.Struct, frozen=True, array_like=True, tag="failure"):
    """An error of the tree in words.errors, by class name and fields."""

    id: int
    error: str
    message: str
    fields: dict[str, Any]


Answer: TypeAlias = (
    Welcome | Found | Written | FillAnswer | Scanned | Removed | StatisticsAnswer | LettersAnswer | Failure
)
