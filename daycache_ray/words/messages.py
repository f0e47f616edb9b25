"""What a shard's machines hear: from peers, from the coordinator and from their own shells.

Peer and coordinator messages travel as msgpack arrays; the inputs of a shell never leave the process.
This file refuses to know how anything is sent, and what an answer looks like on a socket.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from daycache_ray.words.operations import Level, Operation
from daycache_ray.words.records import LogRecord
from daycache_ray.words.types import Member, ShardId


class Configuration(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who forms a shard, as the coordinator agreed; there is one per epoch.

    `term` is the epoch in which `primary` took over: the epoch of its records, of versions and of the
    fence page. `epoch` also rises when only the set changes. `members` are all that should receive the
    log, joiners too; it may change within an epoch, then `revision` rises. Only members of `in_sync`
    may be promoted.
    """

    epoch: int
    term: int
    primary: Member
    in_sync: tuple[Member, ...]
    members: tuple[Member, ...]
    revision: int = 0


class Configure(msgspec.Struct, frozen=True, array_like=True, tag="configure"):
    """The coordinator's present configuration, for one incarnation: another one ignores it (R8)."""

    shard: ShardId
    configuration: Configuration
    recipient: Member


# ------------------------------------------------------------------ between the replicas of a shard


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag="prepare"):
    """Records from the primary, and its beacon; without records it is only the beacon.

    `records` follow the record (`previous_lsn`, `previous_epoch`). `sent_at_ns` is the primary's own
    CLOCK_BOOTTIME: the acknowledgement repeats it, and the lease counts from it (R3). `echo_ns`: the newest
    `heard_at_ns` of the receiver, from a sender under its lease: what was answered until then is in `last_lsn`.
    """

    sender: Member
    epoch: int
    term: int
    previous_lsn: int
    previous_epoch: int
    records: tuple[LogRecord, ...]
    commit_lsn: int
    last_lsn: int
    sent_at_ns: int
    echo_ns: int = 0


class PrepareAck(msgspec.Struct, frozen=True, array_like=True, tag="prepare-ack"):
    """`matched`: the sender's log holds the primary's up to `lsn`. Otherwise: go on after `lsn`.

    `sent_at_ns` grants the primary lease for the beacon of that time; 0 grants nothing. `needs_copy`:
    the sender's log cannot be mended, it wants a copy of the store. `heard_at_ns` is the sender's clock.
    """

    sender: Member
    epoch: int
    matched: bool
    lsn: int
    sent_at_ns: int
    needs_copy: bool = False
    heard_at_ns: int = 0


class CopyPart(msgspec.Struct, frozen=True, array_like=True, tag="copy-part"):
    """One part of a copy of the store; part 0 has no items and announces where the log goes on.

    Items are (store key, record with header and inline payload). The last part carries what else a
    replica remembers: the horizon and the answers of recent requests. `visible_lsn` (last part): what
    the copy shows ends there; all of it is settled (R30).
    """

    sender: Member
    epoch: int
    number: int
    part: int
    base_lsn: int
    base_epoch: int
    items: tuple[tuple[bytes, bytes], ...]
    last: bool = False
    visible_lsn: int = 0
    horizon_ns: int = 0
    answered: tuple[tuple[int, int, int, int, int, int, int | float], ...] = ()
    """(client, sequence, LSN of its record, then the answer's outcome, epoch, lsn, number)"""


class CopyAck(msgspec.Struct, frozen=True, array_like=True, tag="copy-ack"):
    """Every part of copy `number` up to `part` is stored."""

    sender: Member
    epoch: int
    number: int
    part: int


PeerMessage: TypeAlias = Prepare | PrepareAck | CopyPart | CopyAck
# ------------------------------------------------------------------ replica to coordinator


class Intent(enum.IntEnum):
    """What a proposal wants; the coordinator works out the set."""

    PROMOTE = 1
    """Make me primary in place of the present one, who leaves the set."""
    ADD = 2
    """Take `subjects` into the in-sync set."""
    DROP = 3
    """Take `subjects` out of the in-sync set."""
    KEEP = 4
    """Change nothing but the epoch, so that no earlier proposal of mine can be agreed any more (R11)."""
    RESIGN = 5
    """I have given up my lease and stop: promote another in-sync member, or just leave me out."""


class Propose(msgspec.Struct, frozen=True, array_like=True, tag="propose"):
    """A compare-and-set, void unless `expected_epoch` is the present epoch; answered by the present Configure."""

    shard: ShardId
    member: Member
    expected_epoch: int
    intent: int
    subjects: tuple[Member, ...] = ()


class AskConfiguration(msgspec.Struct, frozen=True, array_like=True, tag="ask-configuration"):
    """`member` has heard nothing for a while; the answer is a Configure."""

    shard: ShardId
    member: Member


CoordinatorMessage: TypeAlias = Propose | AskConfiguration

# ------------------------------------------------------------------ shell to replica, never on a wire


class Submit(msgspec.Struct, frozen=True, gc=False):
    """Operations of one client, `from_origin` where that has them already; answered by Answer or Refuse."""

    token: int
    operations: tuple[Operation, ...] | list[Operation]
    level: int
    client: int
    first_sequence: int
    unanswered_sequence: int
    from_origin: bool = False


class ReadAt(msgspec.Struct, frozen=True):
    """May this read be answered from the store? Serve or Refuse with the token, maybe later.

    The shell reads the records when it meets Serve, inside the turn's transaction and before it
    performs the effects of a later message; only sending the answer waits for the commit. Otherwise a
    later EVENTUAL write of the same turn would be seen uncommitted (R18).
    """

    token: int
    keys: tuple[bytes, ...] | list[bytes]
    level: int
    session_epoch: int = 0
    session_lsn: int = 0


class FillAsked(msgspec.Struct, frozen=True):
    """Somebody wants to load `key`, with `refresh` an entry too, or to `write` its origin, until `deadline_ns`
    (boot clock). Answered by AnswerFill or Refuse."""

    token: int
    connection: int
    key: bytes
    deadline_ns: int
    wait: bool
    refresh: bool = False
    write: bool = False


class FillStored(msgspec.Struct, frozen=True):
    """What was loaded, or written; answered by Answer, with outcome VOID when the fill lease is gone."""

    token: int
    number: int
    operation: Operation
    client: int
    sequence: int
    level: int = Level.EVENTUAL


class FillFailed(msgspec.Struct, frozen=True):
    """The loader raised; the waiters hear `message`. Answered by AnswerFill."""

    token: int
    number: int
    message: str


class ConnectionClosed(msgspec.Struct, frozen=True):
    """Every fill lease of this connection is free again."""

    connection: int


class Evict(msgspec.Struct, frozen=True):
    """Remove exactly these versions for space, or another `cause`: (store key, epoch, lsn); others stay (R38)."""

    items: tuple[tuple[bytes, int, int], ...]
    cause: int = 0


class Expired(msgspec.Struct, frozen=True):
    """Remove exactly these versions for age, where the horizon has passed them."""

    items: tuple[tuple[bytes, int, int], ...]


class OriginHas(msgspec.Struct, frozen=True):
    """The origin has taken exactly these versions: they are dirty no more."""

    items: tuple[tuple[bytes, int, int], ...]


class NextExpiry(msgspec.Struct, frozen=True):
    """The earliest expiry in the store, wall-clock ns: say it after start, copy and each expiry pass."""

    expires_at_ns: int


class PeerGone(msgspec.Struct, frozen=True):
    """The connection to `member` broke: a hint, no proof of anything."""

    member: Member


class PeerFenced(msgspec.Struct, frozen=True):
    """Proof that `member` has ended: its store's lock is ours and its fence page is revoked (R33)."""

    member: Member


class Leave(msgspec.Struct, frozen=True):
    """Stop in order: give up the lease and resign."""


ShellMessage: TypeAlias = (
    Submit | ReadAt | FillAsked | FillStored | FillFailed | ConnectionClosed | Evict | Expired | OriginHas | NextExpiry
    | PeerGone | PeerFenced | Leave
)  # fmt: skip
ReplicaMessage: TypeAlias = PeerMessage | Configure | ShellMessage

# ------------------------------------------------------------------ shell to coordinator machine


class Register(msgspec.Struct, frozen=True, array_like=True, tag="register"):
    """A replica has opened its store and wants an incarnation; answered by Registered.

    It must have taken the store's lock and revoked the fence page before: the store id then proves
    that the former incarnation on this store has ended.
    """

    token: int
    seat: int
    node_id: str
    store_id: int
    last_epoch: int
    last_lsn: int


class MemberDied(msgspec.Struct, frozen=True, array_like=True, tag="member-died"):
    """News, no proof: nobody is promoted for it."""

    member: Member


class StoreLost(msgspec.Struct, frozen=True, array_like=True, tag="store-lost"):
    """This member's process has ended and its store is gone for good: the shell or an operator says so.

    Only this lets a shard go on whose whole in-sync set is lost: with what others hold, or empty.
    """

    member: Member


CoordinatorInput: TypeAlias = Register | Propose | AskConfiguration | MemberDied | StoreLost


class SeatState(msgspec.Struct, frozen=True, array_like=True):
    """The present incarnation of one seat and the store that it has."""

    seat: int
    incarnation: int
    node_id: str
    store_id: int
    last_epoch: int
    last_lsn: int
    alive: bool = True


class CoordinatorState(msgspec.Struct, frozen=True, array_like=True):
    """All that a shard's coordinator machine must not forget; `configuration` None: never formed."""

    shard: ShardId
    seats: tuple[SeatState, ...] = ()
    next_incarnation: int = 1
    configuration: Configuration | None = None
    unclean_count: int = 0
    """How often the shard had to go on without its last in-sync store."""


class Persist(msgspec.Struct, frozen=True):
    """Write the state and sync it before any later effect is performed (R35)."""

    state: CoordinatorState


class SendConfigure(msgspec.Struct, frozen=True):
    """Send a Configure to one member; it may be lost, the member asks again."""

    member: Member
    message: Configure


class Registered(msgspec.Struct, frozen=True):
    """Answer a Register: the machine is built for `member`, and hears `configuration` as a Configure.

    None: the shard has no configuration yet, because its other seats must register first.
    """

    token: int
    member: Member
    configuration: Configuration | None


CoordinatorEffect: TypeAlias = Persist | SendConfigure | Registered
