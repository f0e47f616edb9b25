"""Torch tensors in host memory: a short head, then the items, contiguous.

Loaded by the registry when the first tensor passes. A tensor has no read-only flag, and writing through one into a
read-only mapping kills the process; so a read-only payload is copied, and a writable one (a private mapping, a
bytearray) is shared. Strides are not kept: what comes back is contiguous.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import torch

from daycache_ray.codecs.scalars import Encoded, Payload
from daycache_ray.words.errors import CorruptRecordError, InvalidValueError
from daycache_ray.words.records import Codec

TORCH: Final = int(Codec.TORCH)
_HEAD: Final = struct.Struct("<BBH4x")
_ALIGNMENT_BYTES: Final = 16
_NAMES: Final = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
    "complex64", "complex128", "uint16", "uint32", "uint64", "complex32",
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip
"""The place of a dtype's name is its number in the format: only append. A name may be unknown to an older Torch."""
_DTYPES: Final[tuple[torch.dtype | None, ...]] = tuple(getattr(torch, name, None) for name in _NAMES)
_NUMBERS: Final = {dtype: number for number, dtype in enumerate(_DTYPES) if dtype is not None}


def encode(value: Any) -> Encoded:
    """Return a dense CPU tensor as bytes; raises InvalidValueError for every other, with what to call first."""
    _check(value)
    array = value.resolve_conj().resolve_neg().contiguous()
    flat = array.reshape(-1)
    if flat.stride(0) != 1:
        flat = flat.clone(memory_format=torch.contiguous_format)  # One item alone counts as contiguous at any stride.
    items = flat.view(torch.uint8).numpy().data if flat.numel() else b""
    shape = tuple(value.shape)
    head = _HEAD.pack(_NUMBERS[value.dtype], len(shape), 0) + struct.pack(f"<{len(shape)}Q", *shape)
    return TORCH, b"".join((head, bytes(-len(head) % _ALIGNMENT_BYTES), items))


def decode(payload: Payload) -> Any:
    """Return the tensor, on top of `payload` where that is writable, else a copy; raises CorruptRecordError."""
    try:
        number, dimensions, zero = _HEAD.unpack_from(payload)
        shape = struct.unpack_from(f"<{dimensions}Q", payload, _HEAD.size)
        dtype = _DTYPES[number]
        if dtype is None or zero:
            raise ValueError(f"this Torch has no {_NAMES[number]}")
        end = _HEAD.size + 8 * dimensions
        items = memoryview(payload)[end + -end % _ALIGNMENT_BYTES :]
        if not items.nbytes:
            return torch.empty(shape, dtype=dtype) if 0 in shape else _no_items()
        if items.readonly:
            items = memoryview(bytearray(items))
        return torch.frombuffer(items, dtype=torch.uint8).view(dtype).reshape(shape)
    except Exception as error:
        raise CorruptRecordError(f"a stored tensor cannot be read: {error}") from error


def _no_items() -> torch.Tensor:
    raise ValueError("its items are missing")


def _check(value: torch.Tensor) -> None:
    if value.requires_grad:
        remedy = "a tensor with gradients cannot be stored; pass tensor.detach()"
    elif value.device.type != "cpu":
        remedy = f"a tensor on '{value.device}' cannot be stored; pass tensor.cpu()"
    elif value.layout is not torch.strided:
        remedy = f"a tensor of layout {value.layout} cannot be stored; pass tensor.to_dense()"
    elif value.dtype not in _NUMBERS:
        remedy = f"a tensor of {value.dtype} cannot be stored; convert it to a plain number type with tensor.to()"
    else:
        return
    raise InvalidValueError(remedy)
