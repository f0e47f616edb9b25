"""Values of registered types: exact, by name, without running code, and refused where the class is another one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import subprocess
import sys
from decimal import Decimal
from typing import Any, NamedTuple

import pydantic
import pytest

from daycache_ray.codecs.registry import decode, encode, register_type
from daycache_ray.words.errors import CorruptRecordError, InvalidArgumentError, InvalidValueError, UnknownTypeError
from daycache_ray.words.records import Codec
from tests.unit.codecs.kinds import Account, Leg, Order, Quote, Rank, Rights, Side, Venue

EXACT: list[Any] = [
    Side.SELL,
    Side.LONG,
    Rank.FIRST,
    Venue.XETRA,
    Rights.READ,
    Rights.READ | Rights.WRITE,
    Rights(0),
    Quote(1.5),
    Order(Side.BUY, 2, Decimal("1.50"), ["a"]),
    Leg("AAPL", Quote(1.0, 2.0)),
    Account(Owner="me", opened=dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc), orders=[Order(Side.BUY, 1)]),
    {Side.BUY: {Leg("A", Quote(1.0))}, Quote(1.0): [Rank.FIRST, (Venue.XETRA,)]},
]


@pytest.mark.parametrize("value", EXACT, ids=lambda value: type(value).__name__)
def test_comes_back_with_its_type(value: Any) -> None:
    codec, payload = encode(value)
    assert codec == Codec.MSGPACK
    back = decode(codec, memoryview(payload))
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)
    if isinstance(value, enum.Enum):
        assert back is value


def test_fields_come_back_as_they_were_and_nothing_runs() -> None:
    order = Order(Side.BUY, 1)
    order.size, order.filled = -5, 3  # What __post_init__ would not let pass.
    assert order.text.endswith("1") or order.text.endswith("-5")  # A cached property is computed again.
    back = decode(*encode(order))
    assert (back.size, back.filled, "text" in vars(back)) == (-5, 3, False)
    account = Account.model_construct(owner="x", more=(1,))
    account._secret = 8
    back = decode(*encode(account))
    assert back == account
    assert (back.owner, back._secret, back.__pydantic_extra__, back.model_fields_set) == (
        "x", 8, {"more": (1,)}, account.model_fields_set,
    )  # fmt: skip


def test_what_would_be_lost_is_refused() -> None:
    order: Any = Order(Side.BUY, 1)
    order.note = "by hand"
    with pytest.raises(InvalidValueError, match="'note'"):
        encode(order)
    lacking = Order(Side.BUY, 1)
    del lacking.size
    with pytest.raises(InvalidValueError, match="lacks"):
        encode([lacking])
    with pytest.raises(InvalidValueError, match="'owner'"):
        encode(Account.model_construct())


def test_a_type_that_is_not_registered_is_refused_with_the_remedy() -> None:
    class Colour(enum.Enum):
        RED = 1

    for value in (Colour.RED, [Colour.RED], {"a": (Colour.RED,)}):
        with pytest.raises(InvalidValueError, match=r"register_type\(Colour\), or store value\.value"):
            encode(value)
    assert encode(Colour.RED, allow_pickle=True)[0] == Codec.PICKLE


def test_a_name_that_is_not_registered_is_said() -> None:
    codec, payload = encode({"side": Side.BUY})
    with pytest.raises(UnknownTypeError, match=r"'tests\.unit\.codecs\.kinds\.Sidf'.*register_type"):
        decode(codec, payload.replace(b".Side", b".Sidf"))
    code = (
        "import sys\nfrom daycache_ray.codecs.registry import decode\nfrom daycache_ray.words.errors import "
        "UnknownTypeError\n"
        f"stored = {encode(Account(Owner='me'))!r}\n"
        "try:\n    decode(*stored)\nexcept UnknownTypeError as error:\n    assert 'bank.Account' in str(error)\n"
        "else:\n    raise SystemExit('decoded')\nassert 'tests.unit.codecs.kinds' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _versions() -> tuple[Any, Any, Any]:
    def first() -> Any:
        @dataclasses.dataclass
        class Point:
            x: int

        return Point

    def second() -> Any:
        @dataclasses.dataclass
        class Point:
            x: int
            y: int = 5
            z: list[int] = dataclasses.field(default_factory=list)

        return Point

    def third() -> Any:
        @dataclasses.dataclass
        class Point:
            x: int
            y: int
            z: list[int]

        return Point

    return first(), second(), third()


def test_a_class_that_changed_has_defaults_or_is_an_error() -> None:
    first, second, third = _versions()
    for cls in (first, second, third):
        cls.__qualname__ = "Point"
    register_type(first, "point")
    stored = encode(first(1))
    register_type(second, "point")
    assert decode(*stored) == second(1, 5, [])
    full = encode(second(1, 2, [3]))
    register_type(third, "point")
    assert decode(*full) == third(1, 2, [3])
    with pytest.raises(CorruptRecordError, match="gained the field 'y'"):
        decode(*stored)
    register_type(first, "point")
    with pytest.raises(CorruptRecordError, match="lost the field 'y'"):
        decode(*full)


def test_models_and_named_tuples_that_changed() -> None:
    old = pydantic.create_model("Thing", a=(int, 1))
    new = pydantic.create_model("Thing", a=(int, 1), b=(list[int], pydantic.Field(default_factory=list)))
    stored = encode(register_type(old, "thing")(a=4))
    assert decode(*encode(old(a=4))) == old(a=4)
    register_type(new, "thing")
    assert decode(*stored) == new(a=4)
    stored = encode(new())
    register_type(old, "thing")
    with pytest.raises(CorruptRecordError, match="lost the field 'b'"):
        decode(*stored)
    with pytest.raises(CorruptRecordError, match="no member 'BUX'"):
        decode(encode(Side.BUY)[0], encode(Side.BUY)[1].replace(b"BUY", b"BUX"))
    with pytest.raises(CorruptRecordError, match="lost the field 'bix'"):
        decode(encode(Quote(1.0))[0], encode(Quote(1.0))[1].replace(b"bid", b"bix"))


def test_a_moved_class_keeps_its_values() -> None:
    class Moved(enum.Enum):
        A = 1

    register_type(Moved, "old place")
    stored = encode(Moved.A)
    register_type(Moved, "new place")
    assert decode(*stored) is Moved.A
    assert b"new place" in encode(Moved.A)[1]


def test_what_cannot_be_registered() -> None:
    class Plain:
        pass

    @dataclasses.dataclass
    class Growing(dict[str, int]):
        x: int = 0

    class Local(NamedTuple):
        x: int

    for cls, name, remedy in (
        (Plain, "plain", "no enum, dataclass"),
        (Growing, "growing", "is a dict too"),
        (Local, None, "name="),
        (Local, "", "1 to 200"),
        (Local, "x" * 201, "1 to 200"),
        (Local, "bank.Account", "stands for"),
        (5, "five", "a class"),
    ):
        with pytest.raises(InvalidArgumentError, match=remedy):
            register_type(cls, name)  # type: ignore[arg-type]
