"""Frames: what goes in comes out, however the stream is cut; anything else is a ProtocolError."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daycache_ray.wire.failures import error_of, failure_of
from daycache_ray.wire.frames import (
    FrameReader,
    answer_frame,
    decode_answer,
    decode_peer,
    decode_request,
    error_frame,
    peer_frame,
    request_frame,
)
from daycache_ray.words.errors import CacheError, ProtocolError, ServerError, StaleError, all_error_types
from daycache_ray.words.messages import CopyAck, CopyPart, Prepare, PrepareAck
from daycache_ray.words.operations import (
    Accesses,
    AskStatistics,
    Failure,
    FillAnswer,
    FillAsk,
    FillFail,
    FillStore,
    Found,
    Hello,
    Operation,
    OperationResult,
    Read,
    Scan,
    Scanned,
    StatisticsAnswer,
    Welcome,
    Write,
    Written,
)
from daycache_ray.words.records import LogRecord
from daycache_ray.words.types import Member

OPERATION = Operation(1, b"\x00\x01\x01ak", b"value", 1, 0, 5_000_000_000, 1, 2, -3, 40)

REQUESTS = [
    Hello(0, 1, "shop", "token", 2**62, "hft"),
    Read(1, "orders", 3, [b"k", b"\x00\xff"], 2, 1, 9),
    Write(2, "orders", 0, [OPERATION, OPERATION], 1, 7, 11, 10),
    FillAsk(3, "orders", 0, b"k", 5000, False),
    FillStore(4, "orders", 0, 12, OPERATION, 7, 13),
    FillFail(5, "orders", 0, 12, "no such table"),
    Scan(6, "orders", 0, "hft", b"pre", b"", 100),
    AskStatistics(7, "orders", 0),
    Accesses("orders", "hft", 7, 1_700_000_000_000, [b"a", b"b"], b"\x01\x00"),
]
ANSWERS = [
    Welcome(0, 1, 5),
    Found(1, [None, b"record"], 1, 9),
    Written(2, [OperationResult(1, 2, 3, 4.5)]),
    FillAnswer(3, -1, "busy"),
    Scanned(4, [b"a"], b"cursor"),
    StatisticsAnswer(5, {"role": "primary", "pid": 1}),
    Failure(6, "NotPrimaryError", "ask another", {}),
]
RECORD = LogRecord(4, 2, 1, b"key", b"value", strong=True)
PEERS = [
    Prepare(Member(0, 1), 2, 2, 3, 2, (RECORD,), 3, 4, 99),
    PrepareAck(Member(1, 2), 2, True, 4, 99),
    CopyPart(Member(0, 1), 2, 1, 0, 3, 2, ((b"k", b"r"),), True, 4, 5, ((1, 2, 3, 4, 5, 6, 7.0),)),
    CopyAck(Member(1, 2), 2, 1, 0),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: type(r).__name__)
def test_request_comes_out_as_it_went_in(request_: object) -> None:
    (frame,) = FrameReader().feed(request_frame(request_))
    assert frame[0] == b"DC"
    assert decode_request(frame[1]) == request_


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda a: type(a).__name__)
def test_answer_comes_out_as_it_went_in(answer: object) -> None:
    (frame,) = FrameReader().feed(answer_frame(answer))
    assert decode_answer(frame) == answer


@pytest.mark.parametrize("message", PEERS, ids=lambda m: type(m).__name__)
def test_peer_message_comes_out_as_it_went_in(message: object) -> None:
    (frame,) = FrameReader().feed(peer_frame(message))
    assert frame[0] == b"PEER"
    assert decode_peer(frame[1]) == message


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_a_stream_may_be_cut_anywhere(cuts: list[int]) -> None:
    stream = b"".join(request_frame(request) for request in REQUESTS)
    reader, frames, at, index = FrameReader(), [], 0, 0
    while at < len(stream):
        size = cuts[index % len(cuts)]
        frames += reader.feed(stream[at : at + size])
        at, index = at + size, index + 1
    assert [decode_request(frame[1]) for frame in frames] == REQUESTS


@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_and_nothing_else(data: bytes) -> None:
    reader = FrameReader()
    try:
        frames = reader.feed(data)
    except ProtocolError:
        return
    for frame in frames:
        with pytest.raises(ProtocolError):
            decode_answer(frame if not isinstance(frame, bytes) else frame + b"\xc1")


@given(st.binary(max_size=200))
def test_a_payload_decodes_or_is_refused(data: bytes) -> None:
    for decode in (decode_request, decode_peer):
        try:
            message = decode(data)
        except ProtocolError:
            continue
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(message)) is not None


@pytest.mark.parametrize("cls", all_error_types(), ids=lambda c: c.__name__)
def test_every_error_crosses_the_wire_by_name(cls: type[CacheError]) -> None:
    error = error_of(failure_of(7, cls("what to do", retry_after_s=0.5)))
    assert type(error) is cls
    assert str(error) == "what to do"
    assert error.fields == {"retry_after_s": 0.5}


def test_foreign_errors_are_server_errors() -> None:
    assert isinstance(error_of(failure_of(1, ZeroDivisionError("x"))), ServerError)
    assert isinstance(error_of(Failure(1, "ErrorOfALaterRelease", "text", {})), ServerError)
    assert not isinstance(error_of(failure_of(1, StaleError("old"))), ServerError)


def test_an_error_line_is_one_line() -> None:
    assert error_frame("a\r\nb") == b"-ERR a  b\r\n"
