"""What goes is counted by cause and kept for those who follow, each in a bounded queue."""

from __future__ import annotations

from daycache_ray.structures import removal_ledger
from daycache_ray.structures.removal_ledger import QUEUE_COUNT_MAX, SILENCE_NS, RemovalLedger
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.words.records import HEADER, Flag, LogRecord, RecordKind
from daycache_ray.words.removals import CAUSES, EVICTED, EXPIRED, EXPLICIT, INVALIDATED, REPLACED

OWNER = service_prefix(b"shop")
ALL = (1 << len(CAUSES)) - 1


def record(lsn: int, *, expires_at_ns: int = 0, flags: int = 0, value: bytes = b"v") -> bytes:
    """Return a stored record."""
    return HEADER.pack(1, lsn, expires_at_ns, 0, 0, 0, flags, 0) + value


def key(name: bytes) -> bytes:
    """Return a store key of the service."""
    return store_key(name, OWNER)


def test_a_record_of_the_log_says_the_cause() -> None:
    ledger = RemovalLedger()
    for kind, codec, expires_at_ns in (
        (RecordKind.DELETE, 0, 0),
        (RecordKind.DELETE, INVALIDATED, 0),
        (RecordKind.PUT, 0, 0),
        (RecordKind.PUT, 0, 50),
        (RecordKind.EVICT, 0, 0),
        (RecordKind.EXPIRE, 0, 50),
    ):
        went = LogRecord(9, 1, kind, key(b"a"), codec=codec)
        ledger.note_applied(went, key(b"a"), record(3, expires_at_ns=expires_at_ns), 100)

    assert [ledger.counts[cause] for cause in (EXPLICIT, INVALIDATED, REPLACED, EXPIRED, EVICTED)] == [1, 1, 1, 2, 1]


def test_a_remembered_miss_is_no_entry() -> None:
    ledger = RemovalLedger()
    ledger.note(EXPIRED, key(b"a"), record(3, flags=Flag.NEGATIVE))

    assert not any(ledger.counts)


def test_a_follower_hears_of_its_service_and_its_causes_only() -> None:
    ledger = RemovalLedger()
    assert ledger.take(7, OWNER, 1 << EXPIRED, 0, 10, 0).begun
    ledger.note(EXPIRED, key(b"mine"), record(3))
    ledger.note(EVICTED, key(b"mine"), record(4))
    ledger.note(EXPIRED, store_key(b"theirs", service_prefix(b"shopping")), record(5))

    taken = ledger.take(7, OWNER, 1 << EXPIRED, 0, 10, 1)
    assert taken.removals == [(b"mine", 1, 3, EXPIRED)]
    assert not taken.begun and taken.given_count == 1 and taken.lost_count == 0


def test_a_long_key_is_told_in_full() -> None:
    ledger, name = RemovalLedger(), b"k" * 600
    ledger.take(7, OWNER, ALL, 0, 10, 0)
    value = len(name).to_bytes(2, "little") + name + b"value"
    ledger.note(EXPLICIT, key(name), record(3, flags=Flag.LONG_KEY, value=value))

    assert ledger.take(7, OWNER, ALL, 0, 10, 1).removals == [(name, 1, 3, EXPLICIT)]


def test_a_full_queue_loses_the_oldest_and_counts_them() -> None:
    ledger = RemovalLedger()
    ledger.take(7, OWNER, ALL, 0, 10, 0)
    for lsn in range(QUEUE_COUNT_MAX + 5):
        ledger.note(EXPIRED, key(b"a"), record(lsn))

    taken = ledger.take(7, OWNER, ALL, 0, 10, 1)
    assert taken.lost_count == 5
    assert [lsn for _, _, lsn, _ in taken.removals] == list(range(5, 15))


def test_what_was_given_and_did_not_arrive_is_lost() -> None:
    ledger = RemovalLedger()
    ledger.take(7, OWNER, ALL, 0, 10, 0)
    for lsn in range(4):
        ledger.note(EXPIRED, key(b"a"), record(lsn))
    assert ledger.take(7, OWNER, ALL, 0, 3, 1).given_count == 3

    taken = ledger.take(7, OWNER, ALL, 0, 3, 2)  # the answer before never came
    assert taken.lost_count == 3 and taken.given_count == 1


def test_who_is_silent_or_cancels_is_forgotten_and_costs_nothing() -> None:
    ledger = RemovalLedger()
    ledger.take(7, OWNER, ALL, 0, 10, 0)
    ledger.take(8, OWNER, ALL, 0, 10, SILENCE_NS)
    ledger.forget(8)
    assert ledger.fields()["removal_followers_count"] == 1

    ledger.forget_silent(SILENCE_NS + 1)
    assert ledger.fields()["removal_followers_count"] == 0
    for follower in range(2 * removal_ledger.FOLLOWERS_MAX):
        ledger.take(follower, OWNER, ALL, 0, 10, SILENCE_NS + follower)
    assert ledger.fields()["removal_followers_count"] == removal_ledger.FOLLOWERS_MAX
