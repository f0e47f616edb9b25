"""Codecs beside the value itself: any value makes the trip, and no payload makes a decoder raise anything odd."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import zoneinfo
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from daycache_ray.codecs.registry import DECODERS, decode, encode
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError, UnknownTypeError
from daycache_ray.words.records import Codec
from tests.unit.codecs.kinds import Account, Leg, Order, Quote, Rank, Rights, Side, Venue

texts = st.text(st.characters(exclude_categories=()), max_size=20)
zones = st.one_of(
    st.none(),
    st.just(dt.timezone.utc),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu"]).map(zoneinfo.ZoneInfo),
    st.builds(dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)), texts),
)
hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.binary(max_size=20),
    st.decimals(),
    st.uuids(),
    st.complex_numbers(),
    st.timedeltas(),
    st.dates(),
    st.times(timezones=zones),
    st.datetimes(timezones=zones, allow_imaginary=True),
    st.sampled_from([*Side, *Rank, *Venue, *(Rights(number) for number in range(4))]),
    st.builds(Leg, texts, st.builds(Quote, st.floats(), st.floats())),
)
keys = st.recursive(
    hashable.filter(lambda key: "sNaN" not in repr(key)), lambda inner: st.tuples(inner, inner), max_leaves=4
)
values = st.recursive(
    hashable | st.binary(max_size=20).map(bytearray),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(keys, inner, max_size=5),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.builds(Order, inner, st.integers(0), inner, st.lists(inner, max_size=2)),
        st.builds(Account.model_construct, owner=inner, orders=st.lists(inner, max_size=2), more=inner),
        st.builds(Quote, inner, inner),
    ),
    max_leaves=20,
)


def parts(value: Any) -> list[Any]:
    if isinstance(value, Account):
        return [dict(value), value.__pydantic_extra__, repr(sorted(value.model_fields_set)), value._secret]
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def same(left: Any, right: Any) -> bool:
    """Equal in type and value all the way down; NaN equals NaN, 0.0 differs from -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return math.copysign(1, left) == math.copysign(1, right) if left == right else left != left and right != right
    if isinstance(left, Order | Leg | Account):
        return same(parts(left), parts(right))
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, set | frozenset):
        return sorted(map(repr, left)) == sorted(map(repr, right))
    if isinstance(left, dt.datetime | dt.time):
        return repr(left) == repr(right) and left.tzinfo == right.tzinfo
    return repr(left) == repr(right)


@given(values)
@settings(max_examples=400)
def test_any_value_comes_back(value: Any) -> None:
    codec, payload = encode(value)
    assert same(decode(codec, payload), value)
    assert same(decode(codec, memoryview(payload)), value)


dtypes = npst.scalar_dtypes() | npst.nested_dtypes(
    npst.scalar_dtypes() | npst.unicode_string_dtypes() | npst.byte_string_dtypes()
)


@given(npst.arrays(dtypes, npst.array_shapes(min_dims=0, min_side=0, max_side=4)), st.booleans())
@settings(max_examples=150)
def test_any_array_comes_back(array: Any, turned: bool) -> None:
    array = array.T if turned else array
    back = decode(*encode(array))
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


small_types = st.sampled_from([ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4])


@given(small_types, npst.arrays(np.int8, npst.array_shapes(min_dims=0, min_side=0, max_side=4)), st.booleans())
def test_any_array_of_small_items_comes_back(kind: Any, items: Any, turned: bool) -> None:
    array = items.astype(kind)
    array = array.T if turned else array
    back = decode(*encode(array))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


tensor_types = st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64, torch.uint8])


@given(tensor_types, st.lists(st.integers(0, 4), max_size=4), st.booleans(), st.integers(0, 99))
def test_any_tensor_comes_back(dtype: torch.dtype, shape: list[int], turned: bool, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    tensor = torch.randint(0, 2, tuple(shape), generator=random).to(dtype)
    if turned and tensor.dim():
        tensor = tensor.transpose(0, -1)[1:]
    for stored in (encode(tensor)[1], memoryview(bytearray(encode(tensor)[1]))):
        back = decode(Codec.TORCH, stored)
        assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(back, tensor)


cells = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    st.lists(st.none() | st.floats(allow_nan=False), min_size=3, max_size=3),
    st.lists(st.none() | st.text(max_size=5), min_size=3, max_size=3),
    st.lists(st.none() | st.booleans(), min_size=3, max_size=3),
    st.lists(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)), min_size=3, max_size=3),
    st.lists(st.none() | st.lists(st.integers(0, 9), max_size=3), min_size=3, max_size=3),
)


@given(st.dictionaries(st.text(max_size=5), cells, max_size=4))
@settings(deadline=None)
def test_any_table_comes_back_from_arrow_and_polars(columns: dict[str, Any]) -> None:
    table = pa.table(columns)
    assert decode(*encode(table)).equals(table, check_metadata=True)
    for column in table.columns:
        back = decode(*encode(column))
        assert type(back) is pa.ChunkedArray
        assert back.equals(column)
        array = column.combine_chunks()
        assert decode(*encode(array)).equals(array)
        assert type(decode(*encode(array))) is type(array)
    frame = pl.DataFrame(columns, strict=False)
    back = decode(*encode(frame))
    assert back.schema == frame.schema
    assert back.equals(frame)


@given(st.dictionaries(st.text(max_size=5), cells, max_size=4), st.booleans())
@settings(deadline=None)
def test_any_frame_of_pandas_comes_back_or_is_refused(columns: dict[str, Any], indexed: bool) -> None:
    frame = pd.DataFrame(columns, index=["c", "a", "b"] if indexed else None)
    try:
        codec, payload = encode(frame)
    except InvalidValueError:
        assert any(dtype.kind == "O" for dtype in frame.dtypes), "only objects may be refused here"
        return
    pd.testing.assert_frame_equal(decode(codec, payload), frame, check_exact=True, check_column_type=True)


SAMPLES = [
    encode(value)
    for value in (
        {"a": [1, (2.5, {3}), None], (1,): dt.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))},
        np.arange(6.0).reshape(2, 3),
        np.zeros(2, [("a", "f8"), ("b", "U3")]),
        pa.table({"a": [1, None], "b": ["x", "yy"]}),
        torch.ones(2, 3),
        {"n": np.arange(3), "t": torch.ones(2)},
        [Order(Side.BUY, 1), Account(Owner="me"), Quote(1.0), Rights.READ | Rights.WRITE],
        pa.chunked_array([[1], [2]]),
        np.array(["a", "bb"], np.dtypes.StringDType()),
        np.zeros(3, ml_dtypes.bfloat16),
        pd.DataFrame({"a": [1.5], "b": ["x"]}),
        pl.DataFrame({"a": [1.5], "b": ["x"]}),
    )
]


@given(st.sampled_from([codec for codec in range(256) if codec != Codec.PICKLE]), st.binary(max_size=100))
@settings(max_examples=400)
def test_random_bytes_are_a_value_or_corrupt(codec: int, payload: bytes) -> None:
    for stored in (payload, memoryview(payload)):
        try:
            DECODERS[codec](stored)
        except CorruptRecordError:
            pass


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=600)
def test_damaged_payloads_are_a_value_or_corrupt(sample: tuple[int, bytes], data: st.DataObject) -> None:
    codec, payload = sample
    damaged = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)) | st.just(len(payload)))
    try:
        DECODERS[codec](bytes(damaged[:cut]))
    except (CorruptRecordError, UnknownTypeError):
        pass
