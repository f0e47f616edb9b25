"""How messages become bytes on a socket and back: RESP frames around msgpack.

A request is the RESP array `DC <operations.Request>`, an answer a bulk string with an
`operations.Answer`. Replicas talk to each other with `PEER <PeerMessage>`, one way. Framing is
hiredis's; what is inside is checked by msgspec's types, so garbage is a ProtocolError and nothing else.
"""

from __future__ import annotations

from typing import Any, Final

import hiredis
import msgspec

from daycache_ray.words.errors import ProtocolError
from daycache_ray.words.limits import FRAME_BYTES_MAX
from daycache_ray.words.messages import PeerMessage
from daycache_ray.words.operations import Answer, Request

REQUEST: Final = b"DC"
PEER: Final = b"PEER"

encode: Final = msgspec.msgpack.Encoder().encode
_decode_request: Final = msgspec.msgpack.Decoder(Request).decode
_decode_answer: Final = msgspec.msgpack.Decoder(Answer).decode
_decode_peer: Final = msgspec.msgpack.Decoder(PeerMessage).decode


def request_frame(request: Request) -> bytes:
    """Return the bytes of one request."""
    payload = encode(request)
    return b"*2\r\n$2\r\nDC\r\n$%d\r\n%b\r\n" % (len(payload), payload)


def peer_frame(message: PeerMessage) -> bytes:
    """Return the bytes of one message between replicas."""
    payload = encode(message)
    return b"*2\r\n$4\r\nPEER\r\n$%d\r\n%b\r\n" % (len(payload), payload)


def answer_frame(answer: Answer) -> bytes:
    """Return the bytes of one answer."""
    payload = encode(answer)
    return b"$%d\r\n%b\r\n" % (len(payload), payload)


def error_frame(text: str) -> bytes:
    """Return a RESP error line, for those who did not speak our language at all."""
    return b"-ERR " + text.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace") + b"\r\n"


def decode_request(payload: bytes) -> Request:
    """Return the request in `payload`; raises ProtocolError for anything else."""
    try:
        request: Request = _decode_request(payload)
        return request
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"not a request: {error}") from None


def decode_peer(payload: bytes) -> PeerMessage:
    """Return the peer message in `payload`; raises ProtocolError for anything else."""
    try:
        message: PeerMessage = _decode_peer(payload)
        return message
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"not a message between replicas: {error}") from None


class FrameReader:
    """Cuts a stream of bytes into frames; refuses those that are too large or no frames."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting_bytes = 0

    def feed(self, data: bytes) -> list[Any]:
        """Return the frames that `data` completes, oldest first.

        Raises:
            ProtocolError: the stream is no RESP, or a frame exceeds FRAME_BYTES_MAX; hang up.
        """
        self._reader.feed(data)
        self._waiting_bytes += len(data)
        frames = []
        try:
            while (frame := self._reader.gets()) is not False:
                frames.append(frame)
        except hiredis.ProtocolError as error:
            raise ProtocolError(f"not RESP: {error}") from None
        if frames:
            self._waiting_bytes = 0
        elif self._waiting_bytes > FRAME_BYTES_MAX:
            raise ProtocolError(f"a frame may have {FRAME_BYTES_MAX} bytes")
        return frames


def decode_answer(frame: Any) -> Answer:
    """Return the answer in a frame from a replica; raises ProtocolError for anything else."""
    if not isinstance(frame, bytes):
        raise ProtocolError(f"the other side does not speak this protocol: {frame}")
    try:
        answer: Answer = _decode_answer(frame)
        return answer
    except msgspec.DecodeError as error:
        raise ProtocolError(f"not an answer: {error}") from None
