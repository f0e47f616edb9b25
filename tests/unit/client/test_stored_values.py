"""Values out of a real store: held views outlive everything, and what is broken says so to every reader."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from daycache_ray.codecs.compression import compressor_of
from daycache_ray.codecs.registry import encode
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import CacheError, CorruptRecordError
from daycache_ray.words.limits import LOG_BYTES_KEPT
from daycache_ray.words.operations import Write
from daycache_ray.words.records import HEADER, Codec, Flag, LogRecord, RecordKind
from tests.unit.client.one_replica import Stage
from tests.unit.client.test_node_reads import Owner

LARGE: dict[str, Any] = {
    "numpy": np.arange(100_000.0),
    "torch": torch.arange(100_000.0),
    "arrow": pa.table({"a": np.arange(100_000.0)}),
    "bytes": bytes(range(256)) * 4_000,
}
SMALL: dict[str, Any] = {
    "numpy": np.arange(10.0),
    "torch": torch.arange(10.0),
    "arrow": pa.table({"a": np.arange(10.0)}),
    "bytes": b"small",
}


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    found = Owner(tmp_path)
    yield found
    found.stage.session.close()
    if os.path.exists(found.directory):
        found.store.close()


def stored_key(key: str) -> bytes:
    return store_key(key.encode(), service_prefix(b"default"))


def look(owner: Owner, key: str) -> None:
    owner.stage.session.look_near(owner.stage.core.reads.place(key).part)


def same(left: Any, right: Any) -> bool:
    if isinstance(right, np.ndarray):
        return bool(np.array_equal(left, right))
    if isinstance(right, torch.Tensor):
        return bool(torch.equal(left, right))
    if isinstance(right, pa.Table):
        return bool(left.equals(right))
    return bytes(left) == right


def address_of(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return int(value.data_ptr())
    if isinstance(value, pa.Table):
        return int(value["a"].chunk(0).buffers()[1].address)
    return int(np.frombuffer(value, np.uint8).ctypes.data)


def mapping_of(address: int) -> str:
    """Return the line of this process's memory map in which an address lies."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if start <= address < end:
            return line
    return ""


def overwrite(owner: Owner) -> None:
    owner.put("a", b"another" * 10_000)


def delete(owner: Owner) -> None:
    owner.delete("a")


def evict(owner: Owner) -> None:
    header = HEADER.unpack_from(owner.store.get(stored_key("a")) or b"")
    owner.apply(
        LogRecord(
            owner.lsn + 1, 1, RecordKind.EVICT, stored_key("a"), target_epoch=header[0], target_lsn=header[1]
        ),
        publish=True,
    )


def forget_the_past(owner: Owner) -> None:
    """Write until the log has none of the records before: they mean their files too."""
    for _ in range(3 * LOG_BYTES_KEPT // (2 << 20)):
        owner.put("other", bytes(1 << 20))


def remove_everything(owner: Owner) -> None:
    owner.stage.session.close()
    owner.store.close()
    shutil.rmtree(owner.directory)


ENDS = [overwrite, delete, evict, remove_everything]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("kind", LARGE)
def test_a_large_view_is_the_file_and_outlives_the_entry(owner: Owner, kind: str, end: Any) -> None:
    value = LARGE[kind]
    owner.put("a", value)
    look(owner, "a")
    with owner.stage.region.view("a") as view:
        assert same(view, value)
        assert "/large/" in mapping_of(address_of(view))
        end(owner)
        if end is not remove_everything:
            forget_the_past(owner)
        gc.collect()
        assert "(deleted)" in mapping_of(address_of(view))
        assert same(view, value)
    # Held beyond the block it is as safe: the value holds its mapping.
    gc.collect()
    assert same(view, value)
    address = address_of(view)
    del view
    gc.collect()
    assert "/large/" not in mapping_of(address)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("kind", SMALL)
def test_a_small_view_is_safe_after_its_block(owner: Owner, kind: str, end: Any) -> None:
    value = SMALL[kind]
    owner.put("a", value)
    look(owner, "a")
    with owner.stage.region.view("a") as view:
        assert same(view, value)
    end(owner)
    gc.collect()
    assert "daycache" not in mapping_of(address_of(view))
    assert same(view, value)


def test_writing_to_a_view_changes_nothing(owner: Owner) -> None:
    owner.put("t", LARGE["torch"])
    owner.put("n", LARGE["numpy"])
    owner.put("b", LARGE["bytes"])
    look(owner, "t")
    region = owner.stage.region
    with region.view("t") as tensor:
        tensor.fill_(1.0)
        assert torch.equal(region.get("t"), LARGE["torch"])
    with region.view("n") as array, pytest.raises(ValueError, match="read-only"):
        array[0] = 1.0
    with region.view("b") as data, pytest.raises(TypeError, match="read-only"):
        data[0] = 1


# ---------------------------------------------------------------------------- compressed records, by every reader

VALUES: dict[str, Any] = {
    "inline": {"quotes": [{"bid": 1.5, "ask": 2.5}] * 100},
    "large": np.zeros(10_000),
    "bytes": b"abc" * 5_000,
}


def put_compressed(owner: Owner, key: str, value: Any, method: str) -> None:
    compress = compressor_of(method)
    assert compress is not None
    codec, payload = encode(value)
    payload, flags = compress(codec, payload, 0)
    assert flags == Flag.COMPRESSED
    owner.apply(LogRecord(owner.lsn + 1, 1, RecordKind.PUT, stored_key(key), payload, codec, flags), publish=True)


@pytest.mark.parametrize("method", ["lz4", "zstd"])
@pytest.mark.parametrize("kind", VALUES)
def test_compressed_values_come_out_of_shared_memory(owner: Owner, kind: str, method: str) -> None:
    value = VALUES[kind]
    put_compressed(owner, "a", value, method)
    region = owner.stage.region
    assert np.array_equal(owner.near("a"), value)
    assert np.array_equal(region.get("a"), value)
    assert np.array_equal(region.get_many(["a"])["a"], value)
    entry = region.get_entry("a")
    assert entry is not None
    assert np.array_equal(entry.value, value)
    with region.view("a") as view:
        assert np.array_equal(view, value) if kind != "bytes" else bytes(view) == value
    assert region.exists("a")
    assert owner.stage.replica.requests == []


@pytest.mark.parametrize("method", ["lz4", "zstd"])
@pytest.mark.parametrize("level", ["strong", "eventual", "weak"])
def test_a_region_compresses_what_it_writes(method: str, level: Any) -> None:
    stage = Stage(RegionConfig(name="orders", level=level, compression=method))  # type: ignore[arg-type]
    region, key = stage.region, "k" * 600
    value = VALUES["inline"]
    for name in ("a", key):
        region.set(name, value)
        assert region.get(name) == value
        assert region.get_many([name]) == {name: value}
        with region.view(name) as view:
            assert view == value
    region.set("n", 10**4_000)
    region.flush()
    assert region.get("a") == value
    assert region.get(key) == value
    assert region.get("n") == 10**4_000
    assert region.touch("a", 100)
    assert region.get("a") == value
    headers = [HEADER.unpack_from(record) for record in stage.replica.records.values()]
    assert sorted(header[6] & Flag.COMPRESSED for header in headers) == [0, Flag.COMPRESSED, Flag.COMPRESSED]
    written = [o for _, r in stage.replica.requests if isinstance(r, Write) for o in r.operations if o.value]
    assert min(len(operation.value) for operation in written) < len(encode(value)[1]) / 4


# ---------------------------------------------------------------------------- broken records, by every reader


def forge(owner: Owner, record: bytes) -> None:
    """Put bytes where the record of 'a' is, past everything that would refuse them."""
    owner.put("a", b"x")
    with owner.store._current.environment.begin(write=True) as transaction:
        transaction.put(stored_key("a"), record, db=owner.store._current.data)


def header(codec: int = 0, flags: int = 0) -> bytes:
    return HEADER.pack(1, 1, 0, 0, 0, codec, flags, 0)


BROKEN = {
    "empty": b"",
    "a part of a header": header()[:23],
    "nearly a header": header()[:39],
    "unknown codec": header(200) + b"x",
    "no number": header(Codec.INT) + b"x",
    "half a float": header(Codec.FLOAT) + b"1234",
    "half a container": header(Codec.MSGPACK) + encode([1, 2])[1][:-1],
    "half an array": header(Codec.NUMPY) + encode(np.arange(3))[1][:-1],
    "no file": header(0, Flag.LARGE) + b"x",
    "a file elsewhere": header(0, Flag.LARGE) + bytes(16) + b"../../fence",
    "not compressed": header(0, Flag.COMPRESSED) + b"x" * 50,
    "no key": header(0, Flag.LONG_KEY) + b"x",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_records_say_so_to_every_reader_in_memory(owner: Owner, kind: str) -> None:
    forge(owner, BROKEN[kind])
    region = owner.stage.region
    look(owner, "a")
    if kind == "no key":
        with pytest.raises(CorruptRecordError):
            region.get("a")
        return

    def view() -> None:
        with region.view("a"):
            pass

    calls: list[Any] = [lambda: region.get("a"), lambda: region.get_entry("a"), lambda: region.get_many(["a"]), view,
                        lambda: region.get("a", level="strong"), lambda: region.get("a", level="weak")]  # fmt: skip
    for call in calls:
        look(owner, "a")
        with pytest.raises(CorruptRecordError):
            call()


@pytest.mark.parametrize("kind", [kind for kind in BROKEN if "file" not in kind])
def test_broken_records_say_so_to_whoever_asks_a_replica(kind: str) -> None:
    stage = Stage()
    region = stage.region
    region.set("a", 1)
    stage.replica.records[next(iter(stage.replica.records))] = BROKEN[kind]
    stage.replica.visible = lambda shard, key: stage.replica.records.get((shard, key))  # type: ignore[method-assign]
    for call in (lambda: region.get("a"), lambda: region.get_entry("a"), lambda: region.get_many(["a"])):
        with pytest.raises(CorruptRecordError):
            call()


def test_a_file_that_is_shorter_than_its_record_says_so(owner: Owner) -> None:
    owner.put("a", LARGE["bytes"])
    look(owner, "a")
    (name,) = os.listdir(os.path.join(owner.directory, "large"))
    os.truncate(os.path.join(owner.directory, "large", name), 100)
    with pytest.raises(CorruptRecordError, match="bytes"):
        owner.stage.region.get("a")
    with pytest.raises(CacheError):
        owner.store.payload(stored_key("a"))
