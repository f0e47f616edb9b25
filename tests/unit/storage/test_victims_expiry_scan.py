"""Who is evicted, what expires, and walking the keys."""

from __future__ import annotations

from daycache_ray.storage import scan as scan_file
from daycache_ray.storage.costs import cost_bytes
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.words.effects import Truncate
from daycache_ray.words.records import Flag, RecordKind
from tests.unit.storage.conftest import SERVICE, Turns


def names(items: list[tuple[bytes, int, int]]) -> list[bytes]:
    return [key.removeprefix(SERVICE) for key, _, _ in items]


def filled(turns: Turns, count: int = 6) -> None:
    for number in range(count):
        turns.put(b"k%d" % number)


def test_the_oldest_unvisited_go_first(turns: Turns) -> None:
    filled(turns)
    turns.store.visited.touch(SERVICE + b"k0")
    turns.store.visited.touch(SERVICE + b"k2")
    victims = turns.store.victims(bytes_needed=1 << 30, count_max=2)
    assert victims == [(SERVICE + b"k1", 1, 2), (SERVICE + b"k3", 1, 4)]
    # The hand stands behind k3; what it passed lost its mark.
    assert names(turns.store.victims(1 << 30, 2)) == [b"k4", b"k5"]
    assert names(turns.store.victims(1 << 30, 1)) == [b"k0"]


def test_only_as_much_as_is_needed(turns: Turns) -> None:
    filled(turns)
    record = turns.store.get(SERVICE + b"k0")
    assert record is not None
    one = cost_bytes(SERVICE + b"k0", record)
    assert names(turns.store.victims(one + 1, 100)) == [b"k0", b"k1"]


def test_all_visited_are_spared_once(turns: Turns) -> None:
    filled(turns, 3)
    for number in range(3):
        turns.store.visited.touch(SERVICE + b"k%d" % number)
    assert names(turns.store.victims(1 << 30, 10)) == [b"k0", b"k1", b"k2"]


def test_no_entry_twice_and_none_from_an_empty_store(turns: Turns) -> None:
    assert turns.store.victims(100, 10) == []
    filled(turns, 3)
    turns.store.visited.touch(SERVICE + b"k1")
    assert sorted(names(turns.store.victims(1 << 30, 10))) == [b"k0", b"k1", b"k2"]


def test_an_overwrite_is_no_visit_and_no_new_place(turns: Turns) -> None:
    filled(turns, 3)
    turns.put(b"k0", b"again")
    assert turns.store.victims(1, 1) == [(SERVICE + b"k0", 1, 4)]


def test_what_was_deleted_and_came_back_by_undo_has_a_place(turns: Turns) -> None:
    filled(turns, 2)
    turns.commit()
    turns.delete(b"k0")
    assert names(turns.store.victims(1 << 30, 10)) == [b"k1"]
    turns.turn(Truncate(2))
    assert sorted(names(turns.store.victims(1 << 30, 10))) == [b"k0", b"k1"]


def test_a_hand_that_meets_only_visited_ones_takes_what_comes(turns: Turns) -> None:
    filled(turns, 1_100)
    for number in range(1_100):
        turns.store.visited.touch(SERVICE + b"k%d" % number)
    (victim,) = turns.store.victims(1, 1)
    assert victim[2] == 1_024 + 32 + 1


def test_expired_come_in_the_order_of_their_time(turns: Turns) -> None:
    turns.put(b"c", expires_at_ns=30)
    turns.put(b"a", expires_at_ns=10)
    turns.put(b"never")
    turns.put(b"b", expires_at_ns=20)
    assert turns.store.next_expiry_ns() == 10
    assert turns.store.expired(20, 10) == [(SERVICE + b"a", 1, 2), (SERVICE + b"b", 1, 4)]
    assert names(turns.store.expired(99, 2)) == [b"a", b"b"]
    assert turns.store.expired(9, 10) == []
    turns.delete(b"a")
    assert turns.store.next_expiry_ns() == 20
    turns.reopen()
    assert names(turns.store.expired(99, 10)) == [b"b", b"c"]


def keyed(turns: Turns, service: bytes, key: bytes, **fields: object) -> None:
    """Put under a real store key, as clients do."""
    stored = store_key(key, service_prefix(service))
    value, flags = b"v", 0
    if len(stored) < 2 + 1 + len(service) + len(key):
        value, flags = len(key).to_bytes(2, "little") + key + value, int(Flag.LONG_KEY)
    record = turns.record(RecordKind.PUT, b"", value, flags=flags, **fields)
    turns.write(type(record)(record.lsn, 1, record.kind, stored, value, 0, record.flags, record.expires_at_ns))


def pages(turns: Turns, service: bytes, prefix: bytes, limit: int) -> list[bytes]:
    found: list[bytes] = []
    cursor = b""
    for _ in range(1_000):
        keys, cursor = turns.store.scan(service, prefix, cursor, limit)
        assert len(keys) <= limit
        found += keys
        if not cursor:
            return found
    raise AssertionError("the cursor does not end")


def test_scan_finds_the_keys_of_one_service(turns: Turns) -> None:
    wanted = [b"a%d" % number for number in range(40)] + [b"a" * 600, b"\xff\xfe"]
    for key in wanted:
        keyed(turns, b"svc", key)
        keyed(turns, b"svd", b"x" + key)
        keyed(turns, b"sv", b"y" + key)
    keyed(turns, b"svc", b"b1")
    keyed(turns, b"svc", b"b" * 700)
    for limit in (1, 3, 1_000):
        assert sorted(pages(turns, b"svc", b"", limit)) == sorted([*wanted, b"b1", b"b" * 700])
        assert sorted(pages(turns, b"svc", b"a", limit)) == sorted(wanted[:-1])
        assert sorted(pages(turns, b"svc", b"aaaa", limit)) == [b"a" * 600]
        assert pages(turns, b"svc", b"\xff\xfe", limit) == [b"\xff\xfe"]
        assert pages(turns, b"nobody", b"", limit) == []


def test_scan_leaves_out_misses_and_what_is_expired(turns: Turns) -> None:
    keyed(turns, b"svc", b"{t}old", expires_at_ns=10)
    keyed(turns, b"svc", b"{t}young", expires_at_ns=30)
    turns.write(
        turns.record(RecordKind.PUT, b"").__class__(
            3, 1, int(RecordKind.PUT), store_key(b"{t}none", service_prefix(b"svc")), b"", 0, int(Flag.NEGATIVE)
        )
    )
    assert turns.store.scan(b"svc", b"", b"", 10, horizon_ns=20) == ([b"{t}young"], b"")
    assert turns.store.scan(b"svc", b"", b"", 10) == ([b"{t}old", b"{t}young"], b"")


def test_scan_ends_a_page_rather_than_stopping_for_long(turns: Turns, monkeypatch: object) -> None:
    for number in range(30):
        keyed(turns, b"svc", b"k%d" % number)
    former, scan_file.STEPS_MAX = scan_file.STEPS_MAX, 5  # type: ignore[misc]
    try:
        keys, cursor = turns.store.scan(b"svc", b"none", b"", 10)
        assert keys == []
        assert cursor
        assert sorted(pages(turns, b"svc", b"k29", 10)) == [b"k29"]
    finally:
        scan_file.STEPS_MAX = former  # type: ignore[misc]
