"""The hint table: one writer, readers that lock nothing, a size that never changes."""

import multiprocessing
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daycache_ray.storage.hint_table import Hint, HintReader, HintWriter, hint_hash, hint_seed
from daycache_ray.words.errors import StoreFormatError, StoreInUseError
from daycache_ray.words.types import AccessPattern


def _hint(number: int = 1, updated_ms: int = 1_000) -> Hint:
    return Hint(0.5, AccessPattern.BURST, 0.25, float(number), 30.0, updated_ms)


def test_what_is_written_is_read(tmp_path):
    writer = HintWriter(tmp_path / "hints", slots=64)
    writer.put(5, _hint())
    reader = HintReader(tmp_path / "hints")
    assert reader.get(5) == _hint()
    assert reader.get(6) is None
    writer.put(5, Hint(0.75, AccessPattern.PERIODIC, 0.5, 2.0, 60.0, 2_000))
    assert reader.get(5) == Hint(0.75, AccessPattern.PERIODIC, 0.5, 2.0, 60.0, 2_000)
    assert reader.requests_ahead == 64
    writer.say_alive(77)
    assert reader.alive_ms == 77
    reader.close()
    writer.close()


def test_a_reader_without_a_table_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        HintReader(tmp_path / "hints")


@pytest.mark.parametrize("content", [b"", b"x" * 10, b"\0" * 4_096, os.urandom(64 + 8 * 32)])
def test_a_file_that_is_no_table_is_refused_and_replaced(tmp_path, content):
    (tmp_path / "hints").write_bytes(content)
    with pytest.raises(StoreFormatError):
        HintReader(tmp_path / "hints")
    writer = HintWriter(tmp_path / "hints", slots=8)
    writer.put(1, _hint())
    reader = HintReader(tmp_path / "hints")
    assert reader.get(1) == _hint()
    reader.close()
    writer.close()


def test_there_is_one_writer(tmp_path):
    first = HintWriter(tmp_path / "hints", slots=8)
    with pytest.raises(StoreInUseError):
        HintWriter(tmp_path / "hints", slots=8)
    first.close()
    HintWriter(tmp_path / "hints", slots=8).close()


def test_the_next_writer_finds_what_the_last_one_wrote(tmp_path):
    writer = HintWriter(tmp_path / "hints", slots=8)
    writer.put(3, _hint(updated_ms=10_000))
    writer.close()
    writer = HintWriter(tmp_path / "hints", slots=8)
    reader = HintReader(tmp_path / "hints")
    assert reader.get(3) == _hint(updated_ms=10_000)
    writer.put(3, _hint(number=2, updated_ms=5))
    assert reader.get(3).rate_per_s == 2.0
    assert reader.get(3).updated_ms >= 10_000, "stamps never run back"
    reader.close()
    writer.close()


def test_another_size_retires_the_old_file(tmp_path):
    writer = HintWriter(tmp_path / "hints", slots=8)
    reader = HintReader(tmp_path / "hints")
    writer.close()
    assert not reader.retired
    writer = HintWriter(tmp_path / "hints", slots=16)
    assert reader.retired
    reader.close()
    writer.close()


def test_a_full_window_gives_up_its_oldest(tmp_path):
    writer = HintWriter(tmp_path / "hints", slots=8)
    for number in range(1, 9):
        writer.put(number, _hint(updated_ms=1_000 + number))
    writer.put(9, _hint(updated_ms=2_000))
    reader = HintReader(tmp_path / "hints")
    assert reader.get(1) is None
    assert all(reader.get(number) is not None for number in range(2, 10))
    reader.close()
    writer.close()


def test_regions_have_hashes_of_their_own():
    assert hint_hash(b"AAPL", hint_seed("a")) != hint_hash(b"AAPL", hint_seed("b"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 2**64 - 1), st.floats(0, 1, width=32)), max_size=120))
def test_beside_a_dictionary(tmp_path_factory, writes):
    path = tmp_path_factory.mktemp("hints") / "hints"
    writer = HintWriter(path, slots=32)
    size = path.stat().st_size
    model = {}
    for place, (key, probability) in enumerate(writes):
        writer.put(key, Hint(probability, AccessPattern.HOT, 0.0, 1.0, 0.0, place))
        model[key] = probability
    reader = HintReader(path)
    present = 0
    for key, probability in model.items():
        hint = reader.get(key)
        present += hint is not None
        assert hint is None or hint.probability == probability
    if writes:
        assert reader.get(writes[-1][0]) is not None, "the newest is always there"
    assert present <= 32
    assert path.stat().st_size == size
    reader.close()
    writer.close()


def _write_until(path, ready, stop):
    writer = HintWriter(path, slots=8)
    ready.set()
    number = 0
    while not stop.is_set():
        for _ in range(100):
            number += 1
            value = float(number % 1_000_000)
            # All four numbers are one: a reader that mixes two hints sees different ones.
            writer.put(1 + number % 3 * 8, Hint(value, AccessPattern.HOT, value, value, value, number))
    writer.close()


def test_a_reader_beside_a_writing_process_never_sees_half_a_hint(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=_write_until, args=(tmp_path / "hints", ready, stop))
    process.start()
    try:
        assert ready.wait(60)
        reader = HintReader(tmp_path / "hints")
        different = set()
        deadline_s = time.monotonic() + 60.0
        while len(different) < 2_000:
            assert time.monotonic() < deadline_s, "the writer writes and the reader sees it"
            hint = reader.get(1)
            if hint is not None:
                different.add(hint.rate_per_s)
                assert hint.probability == hint.reload_s == hint.rate_per_s == hint.period_s
        reader.close()
    finally:
        stop.set()
        process.join(60)
    assert process.exitcode == 0
