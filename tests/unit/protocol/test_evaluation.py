"""What operations do, given the newest entry in log order."""

from __future__ import annotations

import struct

import pytest

from daycache_ray.protocol.evaluation import Change, Visible, evaluate
from daycache_ray.words.operations import Operation, OperationKind, OperationResult, Outcome
from daycache_ray.words.records import Codec, Flag, RecordKind

WALL_NS = 1_000


def _visible(payload: bytes = b"old", codec: int = Codec.BYTES, flags: int = 0, expires: int = 0) -> Visible:
    return Visible(3, 9, expires, codec, flags, 0, payload)


def _change(operation: Operation, visible: Visible | None) -> Change:
    change = evaluate(operation, visible, WALL_NS)
    assert isinstance(change, Change), change
    return change


def _outcome(operation: Operation, visible: Visible | None) -> int:
    result = evaluate(operation, visible, WALL_NS)
    assert isinstance(result, OperationResult), result
    return result.outcome


def test_a_set_counts_its_ttl_from_the_wall_clock() -> None:
    change = _change(Operation(OperationKind.SET, b"k", b"v", ttl_ns=50), None)
    assert (change.kind, change.value, change.expires_at_ns) == (RecordKind.PUT, b"v", 1_050)
    assert _change(Operation(OperationKind.SET, b"k", b"v"), _visible()).expires_at_ns == 0


@pytest.mark.parametrize("visible", [None, _visible(flags=Flag.NEGATIVE)])
def test_add_takes_an_absent_key_and_a_remembered_miss(visible: Visible | None) -> None:
    assert _change(Operation(OperationKind.ADD, b"k", b"v"), visible).value == b"v"


def test_conditions_that_do_not_hold_change_nothing() -> None:
    assert _outcome(Operation(OperationKind.ADD, b"k", b"v"), _visible()) == Outcome.NOT_DONE
    assert _outcome(Operation(OperationKind.DELETE, b"k"), None) == Outcome.NOT_DONE
    assert _outcome(Operation(OperationKind.TOUCH, b"k", ttl_ns=5), None) == Outcome.NOT_DONE


def test_compare_and_set_compares_the_version() -> None:
    right = Operation(OperationKind.COMPARE_AND_SET, b"k", b"new", expected_epoch=3, expected_lsn=9)
    assert _change(right, _visible()).value == b"new"
    wrong = Operation(OperationKind.COMPARE_AND_SET, b"k", b"new", expected_epoch=3, expected_lsn=8)
    assert evaluate(wrong, _visible(), WALL_NS) == OperationResult(Outcome.CONFLICT, 3, 9)
    assert evaluate(wrong, None, WALL_NS) == OperationResult(Outcome.CONFLICT, 0, 0)
    assert _change(Operation(OperationKind.COMPARE_AND_SET, b"k", b"new"), None).value == b"new"


def test_touch_keeps_value_and_codec() -> None:
    change = _change(
        Operation(OperationKind.TOUCH, b"k", ttl_ns=5), _visible(b"x", Codec.STR, Flag.LARGE | Flag.LONG_KEY)
    )
    assert change == Change(RecordKind.PUT, b"x", Codec.STR, Flag.LONG_KEY, 1_005, 0)


def test_increment_counts_from_nothing_and_keeps_the_ttl() -> None:
    by_two = Operation(OperationKind.INCREMENT, b"k", ttl_ns=-1, delta=2)
    assert _change(by_two, None) == Change(RecordKind.PUT, b"2", Codec.INT, 0, 0, 0, 2)
    change = _change(by_two, _visible(b"-40", Codec.INT, expires=7_000))
    assert (change.value, change.number, change.expires_at_ns) == (b"-38", -38, 7_000)
    most = _change(by_two, _visible(b"%d" % (2**63 - 3), Codec.INT))
    assert most.number == 2**63 - 1


def test_increment_with_a_float_is_a_float() -> None:
    change = _change(Operation(OperationKind.INCREMENT, b"k", delta=0.5), _visible(b"1", Codec.INT))
    assert (change.codec, struct.unpack("<d", change.value)[0]) == (Codec.FLOAT, 1.5)
    again = _change(Operation(OperationKind.INCREMENT, b"k", delta=1), _visible(change.value, Codec.FLOAT))
    assert again.number == 2.5


@pytest.mark.parametrize(
    "visible",
    [
        _visible(b"x", Codec.STR),
        _visible(b"x", Codec.INT),
        _visible(b"123", Codec.FLOAT),
        _visible(b"%d" % (2**63 - 1), Codec.INT),
        _visible(b"9" * 5_000, Codec.INT),
        _visible(b"1", Codec.INT, Flag.COMPRESSED),
        _visible(b"\x09", Codec.INT, Flag.LONG_KEY),
    ],
    ids=["text", "no digits", "no float", "beyond 64 bits", "beyond Python's digits", "compressed", "cut off"],
)
def test_increment_of_something_else_is_told(visible: Visible) -> None:
    assert _outcome(Operation(OperationKind.INCREMENT, b"k", delta=1), visible) == Outcome.NOT_A_NUMBER


def test_a_long_key_stays_in_front_of_a_number() -> None:
    prefix = struct.pack("<H", 3) + b"key"
    change = _change(
        Operation(OperationKind.INCREMENT, b"k", delta=1), _visible(prefix + b"4", Codec.INT, Flag.LONG_KEY)
    )
    assert (change.value, change.flags) == (prefix + b"5", Flag.LONG_KEY)
    first = _change(Operation(OperationKind.INCREMENT, b"k", prefix, flags=Flag.LONG_KEY, delta=1), None)
    assert first.value == prefix + b"1"


def test_an_entry_that_cannot_be_read_is_told_where_its_value_matters() -> None:
    broken = _visible()._replace(payload=None)
    for kind in (OperationKind.TOUCH, OperationKind.INCREMENT):
        assert _outcome(Operation(kind, b"k", delta=1), broken) == Outcome.CORRUPT
    assert _change(Operation(OperationKind.DELETE, b"k"), broken).kind == RecordKind.DELETE
    right = Operation(OperationKind.COMPARE_AND_SET, b"k", b"new", expected_epoch=3, expected_lsn=9)
    assert _change(right, broken).value == b"new"


def test_touch_keeps_a_value_compressed() -> None:
    change = _change(Operation(OperationKind.TOUCH, b"k", ttl_ns=5), _visible(b"x", Codec.STR, Flag.COMPRESSED))
    assert change.flags == Flag.COMPRESSED
