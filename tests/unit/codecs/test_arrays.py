"""NumPy, Arrow and Torch values: exact, without a copy on reading, and refused where they cannot be exact."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from daycache_ray.codecs.registry import decode, encode
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError
from daycache_ray.words.records import Codec

PLAIN_DTYPES = [
    "?",
    *"bBhHiIlLqQ",
    "e",
    "f",
    "d",
    "g",
    "F",
    "D",
    "G",
    ">f8",
    "<i2",
    "M8[ns]",
    "m8[D]",
    "U5",
    "S3",
    "V7",
]
NESTED = np.dtype([("at", "M8[us]"), ("levels", [("bid", ">f4"), ("size", "u8")], (2, 3)), ("tag", "U4")])
PADDED = np.dtype({"names": ["b", "a"], "formats": ["i4", "f8"], "offsets": [16, 0], "itemsize": 32})
ALIGNED = np.dtype([("a", "i1"), ("b", "f8")], align=True)


def same_array(left: Any, right: Any) -> bool:
    return (
        type(left) is type(right)
        and left.dtype == right.dtype
        and left.dtype.isalignedstruct == right.dtype.isalignedstruct
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )


@pytest.mark.parametrize("dtype", [*PLAIN_DTYPES, NESTED, PADDED, ALIGNED], ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)], ids=str)
def test_every_dtype_and_shape(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, dtype)
    array = np.frombuffer(bytes(i % 2 for i in range(array.nbytes)), dtype).reshape(shape) if array.nbytes else array
    codec, payload = encode(array)
    assert codec == Codec.NUMPY
    for stored in (payload, memoryview(bytearray(payload))):
        back = decode(codec, stored)
        assert same_array(back, array)
        assert not back.flags.writeable


def test_every_layout() -> None:
    cube = np.arange(24).reshape(2, 3, 4)
    for array in (
        np.asfortranarray(cube),
        cube[:, ::2],
        cube[::-1],
        cube.T,
        cube[1:, 1:],
        np.broadcast_to(cube, (5, 2, 3, 4)),
    ):
        back = decode(*encode(array))
        assert same_array(back, array)
    assert decode(*encode(np.asfortranarray(cube))).flags.f_contiguous


def test_scalars_keep_their_type() -> None:
    record = np.array([(1.5, 2)], [("a", "f8"), ("b", "i4")])[0]
    for value in (np.float64(1.5), np.float32("nan"), np.int8(-3), np.bool_(True), np.datetime64("NaT"), np.str_("abc"),
                  np.bytes_(b"a\0b"), np.complex64(1j), np.longdouble("1.5"), record):  # fmt: skip
        back = decode(*encode(value))
        assert type(back) is type(value)
        assert back.dtype == value.dtype
        assert repr(back) == repr(value)
    for text in (np.str_("a\0"), np.bytes_(b"a\0")):
        with pytest.raises(InvalidValueError, match="NUL"):
            encode(text)


def test_arrays_of_objects_are_refused() -> None:
    for array in (
        np.array([{}, 1], object),
        np.array([(1, None)], [("a", "i4"), ("b", "O")]),
    ):
        with pytest.raises(InvalidValueError, match="dtype"):
            encode(array)
        assert encode(array, allow_pickle=True)[0] == Codec.PICKLE
    with pytest.raises(InvalidValueError):
        encode(np.ma.masked_array([1], [True]))
    with pytest.raises(InvalidValueError):
        encode(np.zeros(1, np.dtype("f8", metadata={"unit": "EUR"})))


def test_a_payload_cannot_smuggle_objects() -> None:
    payload = encode(np.zeros(1, "<f8"))[1].replace(b"<f8", b"|O8")
    with pytest.raises(CorruptRecordError, match="objects"):
        decode(Codec.NUMPY, payload)


def test_nothing_is_copied_from_a_mapping(tmp_path: Path) -> None:
    array = np.arange(100_000, dtype=np.float64)
    path = tmp_path / "large"
    path.write_bytes(encode(array)[1])
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    back = decode(Codec.NUMPY, view)
    assert np.shares_memory(back, np.frombuffer(view, np.uint8))
    assert back.flags.aligned
    assert np.array_equal(back, array)
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1.0


def test_nested_values_of_other_families() -> None:
    value = {"prices": np.arange(3.0), "tensor": torch.ones(2), "table": pa.table({"a": [1]}), "last": np.float32(2)}
    back = decode(*encode([value]))[0]
    assert same_array(back["prices"], value["prices"])
    assert torch.equal(back["tensor"], value["tensor"])
    assert back["table"].equals(value["table"])
    assert type(back["last"]) is np.float32
    with pytest.raises(InvalidValueError):
        encode([np.array([None])])


TORCH_DTYPES = [
    getattr(torch, name)
    for name in (
        *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16"),
        *("float32", "float64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
    )
]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("dtype", TORCH_DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3, 4)], ids=str)
def test_every_tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    items = torch.empty(shape, dtype=dtype)
    raw = torch.arange(items.numel() * items.element_size(), dtype=torch.uint8) % 2
    tensor = raw.view(dtype).reshape(shape) if items.numel() else items
    codec, payload = encode(tensor)
    assert codec == Codec.TORCH
    for stored in (payload, memoryview(payload), memoryview(bytearray(payload))):
        back = decode(codec, stored)
        assert (type(back), back.dtype, back.shape) == (torch.Tensor, dtype, tensor.shape)
        assert encode(back)[1] == payload


def test_tensor_views_come_back_contiguous() -> None:
    matrix = torch.arange(12.0).reshape(3, 4)
    turned = torch.view_as_complex(matrix.reshape(3, 2, 2)).conj()
    for tensor in (matrix.T, matrix[:, 1::2], matrix.T[1:2, :1], matrix[1:, 1:], turned, matrix.expand(2, 3, 4)):
        back = decode(*encode(tensor))
        assert torch.equal(back, tensor)
        assert back.is_contiguous()


def test_a_tensor_is_never_a_window_into_read_only_memory() -> None:
    payload = encode(torch.zeros(1000))[1]
    decode(Codec.TORCH, memoryview(payload)).fill_(1.0)
    assert payload == encode(torch.zeros(1000))[1]
    private = memoryview(bytearray(payload))
    shared = decode(Codec.TORCH, private)
    shared.fill_(1.0)
    assert torch.equal(decode(Codec.TORCH, private), shared)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_that_cannot_come_back_are_refused() -> None:
    for tensor, remedy in (
        (torch.ones(1, requires_grad=True), "detach"),
        (torch.ones(2, 2).to_sparse(), "to_dense"),
        (torch.empty(2, device="meta"), "cpu"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "plain number"),
        (torch.nn.Parameter(torch.ones(1)), "Parameter"),
    ):
        with pytest.raises(InvalidValueError, match=remedy):
            encode(tensor)


def test_arrow_tables_and_batches(tmp_path: Path) -> None:
    schema = pa.schema(
        [pa.field("a", pa.int64(), metadata={"unit": "EUR"}), ("b", pa.list_(pa.string()))], metadata={"m": "1"}
    )
    table = pa.table({"a": [1, None], "b": [["x"], None]}, schema=schema)
    dictionary = pa.table({"d": pa.array(["x", "y", "x"]).dictionary_encode()})
    for value in (table, table.slice(1), schema.empty_table(), dictionary, table.to_batches()[0]):
        codec, payload = encode(value)
        assert codec == Codec.ARROW
        for stored in (payload, memoryview(payload)):
            back = decode(codec, stored)
            assert type(back) is type(value)
            assert back.equals(value, check_metadata=True)
    wide = pa.table({"a": np.zeros(100_000)})
    path = tmp_path / "large"
    path.write_bytes(encode(wide)[1])
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    column = decode(Codec.ARROW, view)["a"].chunk(0).to_numpy()
    assert np.shares_memory(column, np.frombuffer(view, np.uint8))


@pytest.mark.parametrize("value", [np.arange(4), torch.ones(4), pa.table({"a": [1]})], ids=lambda v: type(v).__module__)
def test_cut_and_lengthened_payloads_say_so(value: Any) -> None:
    codec, payload = encode(value)
    for wrong in (b"", payload[:1], payload[:9], payload[: len(payload) // 2], payload[:-9]):
        with pytest.raises(CorruptRecordError):
            decode(codec, wrong)
    if codec != Codec.ARROW:
        with pytest.raises(CorruptRecordError):
            decode(codec, payload + b"\0")
