"""Plain values and containers: what comes back is what went in, and what cannot is refused with a remedy."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import subprocess
import sys
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from daycache_ray.codecs.registry import DECODERS, TRUSTING_DECODERS, decode, encode
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError
from daycache_ray.words.records import Codec


class Side(enum.Enum):
    BUY = "buy"


class Rank(enum.IntEnum):
    FIRST = 1


class Name(str):
    __slots__ = ()


class Quote(NamedTuple):
    bid: float


@dataclasses.dataclass
class Order:
    size: int


CET = dt.timezone(dt.timedelta(hours=1), "CET")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
EXACT = [
    (None, Codec.NONE),
    (True, Codec.BOOL),
    (False, Codec.BOOL),
    (0, Codec.INT),
    (-(2**63), Codec.INT),
    (2**64, Codec.INT),
    (10**5000, Codec.INT),
    (-(10**5000) - 1, Codec.INT),
    (-0.0, Codec.FLOAT),
    (float("inf"), Codec.FLOAT),
    ("", Codec.STR),
    ("Grüße \N{MONEY BAG}", Codec.STR),
    ("\ud800", Codec.STR),
    ("\ud83d\udcb0", Codec.STR),
    (b"\x00\xff", Codec.BYTES),
    ((), Codec.MSGPACK),
    ((1, (2, [3, (4,)])), Codec.MSGPACK),
    ([], Codec.MSGPACK),
    ([1, 2.0, "a", b"b", None, True], Codec.MSGPACK),
    ({}, Codec.MSGPACK),
    ({"bid": 1.5, "levels": [(1, 2), (3, 4)]}, Codec.MSGPACK),
    ({1: "a", None: "b", b"k": "c", 1.5: "d", False: "e"}, Codec.MSGPACK),
    ({(1, 2): "pair", frozenset({3}): "set", 2**70: "big", "\udfff": "rough"}, Codec.MSGPACK),
    ({"big": [2**64, -(2**63) - 1], "rough": "\ud800"}, Codec.MSGPACK),
    ({1, 2, 3}, Codec.MSGPACK),
    (frozenset({(1,), "a"}), Codec.MSGPACK),
    (bytearray(b"abc"), Codec.MSGPACK),
    (complex(1, -0.0), Codec.MSGPACK),
    (Decimal("1.250"), Codec.MSGPACK),
    (Decimal("-0E+3"), Codec.MSGPACK),
    (dt.date(2026, 2, 28), Codec.MSGPACK),
    (dt.time(1, 2, 3, 4), Codec.MSGPACK),
    (dt.time(1, 2, tzinfo=dt.timezone.utc, fold=1), Codec.MSGPACK),
    (dt.datetime(2026, 1, 2, 3, 4, 5, 6), Codec.MSGPACK),
    (dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc), Codec.MSGPACK),
    (dt.datetime(2026, 1, 2, tzinfo=CET), Codec.MSGPACK),
    (dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1), Codec.MSGPACK),
    (dt.timedelta(days=-1, microseconds=1), Codec.MSGPACK),
    (uuid.UUID(int=7), Codec.MSGPACK),
]


@pytest.mark.parametrize(("value", "codec"), EXACT, ids=lambda v: type(v).__name__)
def test_comes_back_with_its_type(value: Any, codec: Codec) -> None:
    found, payload = encode(value)
    assert (found, type(payload)) == (codec, bytes)
    for stored in (payload, memoryview(payload), memoryview(bytearray(payload))):
        back = decode(found, stored)
        assert type(back) is type(value)
        assert back == value
        if not isinstance(value, int):
            assert repr(back) == repr(value)


def test_zone_and_fold_come_back() -> None:
    for moment in (dt.datetime(2026, 1, 2, tzinfo=CET), dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)):
        back = decode(*encode([moment]))[0]
        assert (back.tzinfo, back.fold, back.tzname()) == (moment.tzinfo, moment.fold, moment.tzname())
    assert decode(*encode(dt.datetime(2026, 1, 2, tzinfo=BERLIN))).tzinfo is BERLIN


def test_nan_stays_nan() -> None:
    for value in (float("nan"), Decimal("NaN"), Decimal("sNaN12")):
        assert repr(decode(*encode(value))) == repr(value)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (Side.BUY, "value.value"),
        (Rank.FIRST, "value.value"),
        (Name("a"), "store its data"),
        (Quote(1.0), "_asdict"),
        (Order(1), "asdict"),
        (collections.OrderedDict(a=1), "store its data"),
        (collections.defaultdict(int), "store its data"),
        (memoryview(b"a"), "bytes(value)"),
        (object(), "store its data"),
        (lambda: 1, "store its data"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_would_change_its_type_is_refused(value: Any, remedy: str) -> None:
    for wrapped in (value, [value], {"a": (value,)}):
        with pytest.raises(InvalidValueError) as caught:
            encode(wrapped)
        assert remedy in str(caught.value)
        assert "allow_pickle" in str(caught.value)


def test_a_zone_of_an_unknown_kind_is_refused() -> None:
    class Zone(dt.tzinfo):
        pass

    with pytest.raises(InvalidValueError, match="zoneinfo"):
        encode({"at": dt.datetime(2026, 1, 1, tzinfo=Zone())})


def test_too_deep_and_endless_values_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    around: dict[str, Any] = {}
    around["self"] = (around,)
    deep: Any = ()
    for _ in range(2_000):
        deep = (deep,)
    for value in (endless, around, deep):
        with pytest.raises(InvalidValueError, match="deep"):
            encode(value)
    fits: Any = ()
    for _ in range(99):
        fits = (fits,)
    assert decode(*encode(fits)) == fits


def test_pickle_only_where_both_sides_allow_it() -> None:
    codec, payload = encode(Side.BUY, allow_pickle=True)
    assert codec == Codec.PICKLE
    assert decode(codec, payload, allow_pickle=True) is Side.BUY
    assert TRUSTING_DECODERS[codec](payload) is Side.BUY
    for refuse in (lambda: decode(codec, payload), lambda: DECODERS[codec](payload)):
        with pytest.raises(InvalidValueError, match="allow_pickle"):
            refuse()
    code, text = encode(lambda: 3, allow_pickle=True)
    assert decode(code, text, allow_pickle=True)() == 3
    # A value that a codec takes is never pickled.
    assert encode({"a": (1,)}, allow_pickle=True)[0] == Codec.MSGPACK


def test_what_cannot_be_pickled_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="cannot be pickled"):
        encode((i for i in ()), allow_pickle=True)
    with pytest.raises(CorruptRecordError, match="importable"):
        decode(Codec.PICKLE, b"cno_such_module\nthing\n.", allow_pickle=True)


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        (Codec.STR, b"\xff"),
        (Codec.INT, b""),
        (Codec.INT, b"1.5"),
        (Codec.INT, b"9" * 700 + b"x"),
        (Codec.INT, b"\xff" * 700),
        (Codec.FLOAT, b"1234567"),
        (Codec.NONE, b"\x00"),
        (Codec.BOOL, b""),
        (Codec.BOOL, b"\x02"),
        (Codec.MSGPACK, b""),
        (Codec.MSGPACK, b"\xc1"),
        (Codec.MSGPACK, b"\x91" * 5_000 + b"\xc0"),
        (Codec.MSGPACK, b"\xa1\xff"),
        (Codec.MSGPACK, b"\xdd\xff\xff\xff\xff\xc0"),
        (Codec.MSGPACK, b"\xc7\x01\x01\xc0"),
        (Codec.MSGPACK, b"\xc7\x00\x63"),
        (Codec.MSGPACK, b"\xc7\x00\x6e"),
        (Codec.MSGPACK, b"\xc7\x00\x0b"),
        (99, b""),
        (-1, b""),
        (256, b""),
    ],
)
def test_corrupt_payloads_say_so(codec: int, payload: bytes) -> None:
    with pytest.raises(CorruptRecordError):
        decode(codec, payload)


def test_an_unknown_zone_says_so() -> None:
    codec, payload = encode(dt.datetime(2026, 1, 2, tzinfo=BERLIN))
    with pytest.raises(CorruptRecordError, match="Berlix"):
        decode(codec, payload.replace(b"Berlin", b"Berlix"))


def test_every_codec_has_a_decoder() -> None:
    assert len(DECODERS) == len(TRUSTING_DECODERS) == 256
    for codec in Codec:
        assert DECODERS[codec] is not DECODERS[200]


def test_no_heavy_library_is_loaded_for_plain_values() -> None:
    code = (
        "import sys\n"
        "from daycache_ray.codecs.registry import decode, encode\n"
        "for value in (1, 'a', {'a': (1, {2})}, None, 1.5):\n"
        "    assert decode(*encode(value)) == value\n"
        "try:\n    encode(object())\nexcept TypeError:\n    pass\n"
        "loaded = {'ray', 'torch', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_can_forbid_pickle_for_good() -> None:
    code = (
        "from daycache_ray.codecs.registry import decode, encode, forbid_pickle\n"
        "stored = encode(object, allow_pickle=True)\n"
        "assert decode(*stored, allow_pickle=True) is object\n"
        "forbid_pickle()\n"
        "for call in (lambda: decode(*stored, allow_pickle=True), lambda: encode(object, allow_pickle=True)):\n"
        "    try:\n        call()\n"
        "    except TypeError:\n        continue\n"
        "    raise SystemExit('pickled all the same')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
