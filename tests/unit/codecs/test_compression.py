"""Compression: smaller where it is worth it, exact, bounded, and never mistaken for something else."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading

import lz4.block
import numpy as np
import pytest
import xxhash
import zstandard

from daycache_ray.codecs.compression import COMPRESSED, compressor_of, decompressed
from daycache_ray.codecs.registry import decode, encode
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import ConfigError, CorruptRecordError
from daycache_ray.words.limits import COMPRESSED_BYTES_MIN, VALUE_BYTES_MAX
from daycache_ray.words.records import Codec

METHODS = ["lz4", "zstd"]
PAYLOADS = {
    "json": b'{"bid":150.25,"ask":150.5},' * 100,
    "zeros": bytes(1_000_000),
    "smallest": b"ab" * (COMPRESSED_BYTES_MIN // 2),
    "array": encode(np.arange(100_000) % 100)[1],
}


def sealed(method: int, body: bytes, size: int) -> bytes:
    return struct.pack("<B3xIQ", method, xxhash.xxh3_64_intdigest(body) & 0xFFFFFFFF, size) + body


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PAYLOADS)
def test_comes_back(method: str, name: str) -> None:
    compress = compressor_of(method)
    assert compress is not None
    payload = PAYLOADS[name]
    packed, flags = compress(Codec.BYTES, payload, 1)
    assert flags == 1 | COMPRESSED
    assert len(packed) <= 0.9 * len(payload)
    assert decompressed(packed) == payload
    assert decompressed(memoryview(packed)) == payload


@pytest.mark.parametrize("method", METHODS)
def test_what_gains_nothing_stays_as_it_is(method: str) -> None:
    compress = compressor_of(method)
    assert compress is not None
    random = os.urandom(1 << 20)
    short = bytes(COMPRESSED_BYTES_MIN - 1)
    # A twentieth of it could be saved, which is less than a tenth.
    hardly = os.urandom(19_000) + bytes(1_000)
    for payload in (random, short, hardly):
        assert compress(Codec.BYTES, payload, 0) == (payload, 0)
    codec, digits = encode(10**5_000)
    assert compress(codec, digits, 0) == (digits, 0)


def test_none_is_none() -> None:
    assert compressor_of("none") is None
    assert RegionConfig(name="a").compression == "none"
    with pytest.raises(ConfigError, match="compression"):
        RegionConfig(name="a", compression="gzip")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_damaged_bytes_say_so(method: str) -> None:
    compress = compressor_of(method)
    assert compress is not None
    packed, _ = compress(Codec.BYTES, PAYLOADS["json"], 0)
    wrong = [packed[:cut] for cut in range(len(packed))]
    wrong += [packed + b"\0"]
    for at in (0, *range(4, len(packed))):  # Three bytes of the head mean nothing.
        wrong.append(packed[:at] + bytes((packed[at] ^ 1,)) + packed[at + 1 :])
    for broken in wrong:
        with pytest.raises(CorruptRecordError):
            decompressed(broken)


@pytest.mark.parametrize(
    ("packed", "remedy"),
    [
        (sealed(1, lz4.block.compress(bytes(1000), store_size=False), VALUE_BYTES_MAX + 1), "at most"),
        (sealed(1, lz4.block.compress(bytes(1000), store_size=False), VALUE_BYTES_MAX), "cannot become"),
        (sealed(1, lz4.block.compress(bytes(1000), store_size=False), 1_001), "1000 bytes instead of 1001"),
        (sealed(1, lz4.block.compress(bytes(1000), store_size=False), 999), "cannot be read"),
        # A frame that says itself how large it is, and would be made that large whatever the record says.
        (sealed(2, zstandard.compress(bytes(50_000_000)), 1_000), "another size"),
        (sealed(2, zstandard.ZstdCompressor(write_content_size=False).compress(bytes(5_000)), 5_000), "another size"),
        (sealed(2, zstandard.compress(bytes(1000)) + b"more", 1_000), "unused data"),
        (sealed(3, b"body", 4), "method 3"),
        (sealed(0, b"body", 4), "method 0"),
        (b"", "cannot be read"),
    ],
    ids=range(10),
)
def test_lies_about_sizes_and_methods_say_so(packed: bytes, remedy: str) -> None:
    with pytest.raises(CorruptRecordError, match=remedy):
        decompressed(packed)


def test_a_bomb_takes_no_memory() -> None:
    code = (
        "import resource, struct, xxhash, zstandard\n"
        "from daycache_ray.codecs.compression import decompressed\n"
        "from daycache_ray.words.errors import CorruptRecordError\n"
        "packer = zstandard.ZstdCompressor().compressobj(size=2_000_000_000)\n"
        "zeros = bytes(10_000_000)\n"
        "body = b''.join(packer.compress(zeros) for _ in range(200)) + packer.flush()\n"
        "del zeros\n"
        "packed = struct.pack('<B3xIQ', 2, xxhash.xxh3_64_intdigest(body) & 0xFFFFFFFF, 2_000_000_000) + body\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    decompressed(packed)\nexcept CorruptRecordError as error:\n    assert 'at most' in str(error)\n"
        "else:\n    raise SystemExit('decompressed')\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_have_their_own() -> None:
    compress = compressor_of("zstd")
    assert compress is not None
    wrong: list[int] = []

    def work(number: int) -> None:
        payload = b"%d," % number * 5_000
        for _ in range(50):
            packed, _ = compress(Codec.BYTES, payload, 0)
            if decompressed(packed) != payload:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_any_family_may_be_compressed() -> None:
    compress = compressor_of("zstd")
    assert compress is not None
    array = np.zeros((100, 100))
    codec, payload = encode(array)
    packed, _ = compress(codec, payload, 0)
    back = decode(codec, decompressed(packed))
    assert np.array_equal(back, array)
    assert not back.flags.writeable
