"""Bodies to values and back, by media type. It refuses to read or write a pickle, under whatever name.

A value's usual representation is given where the request accepts anything: bytes as octet-stream, str as text, numbers,
lists and dicts as JSON, arrays as .npy, tables as an Arrow stream.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import math
import sys
import uuid
from decimal import Decimal
from typing import Any, Final, NamedTuple, NoReturn

from daycache_ray.codecs.registry import encode
from daycache_ray.serve.http_problems import Problem
from daycache_ray.words.errors import InvalidValueError

OCTETS: Final = "application/octet-stream"
TEXT: Final = "text/plain"
JSON: Final = "application/json"
NPY: Final = "application/x-npy"
ARROW: Final = "application/vnd.apache.arrow.stream"
TAKEN: Final = (OCTETS, JSON, TEXT, NPY, ARROW)
ITEMS_AS_JSON_MAX: Final = 1_000_000
"""Array items that JSON is made of; beyond, a client should take the .npy."""
_TEXT_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


class Representation(NamedTuple):
    """A value as bytes of a media type. `variant` is empty for the value's usual one."""

    media_type: str
    variant: str
    body: bytes


class NotAsJsonError(Exception):
    """JSON has no place for something in the value; the message says for what."""


def value_of(body: bytes, content_type: str | None) -> Any:
    """Return the value that a request's body is; without Content-Type it is bytes.

    Raises:
        Problem: 415 for media types that are not taken, pickles above all; 400 for bodies that are not their type.
        InvalidValueError: the value cannot be stored as it is, such as JSON that is nested too deep.
    """
    essence, charset = _media_type(content_type or OCTETS)
    if "pickle" in essence:
        raise Problem(
            "unsupported-media-type", f"{essence}: a pickle runs code where it is read; send one of {', '.join(TAKEN)}"
        )
    if essence == OCTETS:
        return body
    if essence not in TAKEN:
        hint = "; with curl add -H 'Content-Type: …'" if essence == "application/x-www-form-urlencoded" else ""
        raise Problem("unsupported-media-type", f"{essence} is not taken; send one of {', '.join(TAKEN)}{hint}")
    if essence in (TEXT, JSON) and charset not in _TEXT_CHARSETS:
        raise Problem("unsupported-media-type", f"the charset {charset} is not taken; send UTF-8")
    try:
        if essence == TEXT:
            return body.decode()
        if essence == JSON:
            return _parse_json(body)
        return _parse_npy(body) if essence == NPY else _parse_arrow(body)
    except (InvalidValueError, Problem):
        raise
    except Exception as error:
        raise Problem("malformed-body", f"the body is no {essence}: {error}") from error


def represent(value: Any, accept: str | None) -> Representation:
    """Return the representation of a value that the Accept header likes best.

    Raises:
        Problem: 406, the value has none of the accepted ones; the message lists those it has.
    """
    offers = _offers(value)
    weighed = [(_quality(offer, accept), offer) for offer in offers]
    why = ""
    # Stable: among equals the usual one comes first.
    for quality, offer in sorted(weighed, key=lambda item: -item[0]):
        if quality <= 0:
            continue
        try:
            body = _render(value, offer)
        except NotAsJsonError as error:
            why = f"; as {offer} it cannot be, because {error}"
            continue
        shown = f"{offer}; charset=utf-8" if offer == TEXT else offer
        return Representation(shown, "" if offer == offers[0] else _VARIANTS[offer], body)
    usual = f"; there is {' or '.join(offers)}" if offers else ""
    raise Problem(
        "not-acceptable", f"a value of type '{type(value).__name__}' is not {accept or 'anything'}{usual}{why}"
    )


_FRAMES: Final = frozenset({"pandas", "polars"})
_VARIANTS: Final = {OCTETS: "bin", TEXT: "text", JSON: "json", NPY: "npy", ARROW: "arrow"}


def as_json(value: Any) -> Any:
    """Return a value as what JSON can hold: tuples and arrays as lists, times as ISO 8601, decimals and UUIDs as text.

    Raises:
        NotAsJsonError: it holds bytes, sets, keys that are no text, NaN or an infinity, or something larger.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotAsJsonError(f"JSON has no {value}")
        return value
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise NotAsJsonError("JSON's keys are text")
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Decimal | uuid.UUID):
        return str(value)
    return _array_as_json(value)


def _array_as_json(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and value.dtype.kind in "biufUT":
        if value.size > ITEMS_AS_JSON_MAX:
            raise NotAsJsonError(f"it has {value.size} items, and JSON is made of at most {ITEMS_AS_JSON_MAX}")
        if value.dtype.itemsize <= 8 or value.dtype.kind in "UT":
            return as_json(value.tolist())
    raise NotAsJsonError(f"JSON has no '{type(value).__name__}'")


def _offers(value: Any) -> tuple[str, ...]:
    if isinstance(value, bytes | bytearray):
        return (OCTETS,)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return (JSON,)  # It can escape a lone surrogate.
        return TEXT, JSON
    numpy, torch, arrow = (sys.modules.get(name) for name in ("numpy", "torch", "pyarrow"))
    if numpy is not None and isinstance(value, numpy.ndarray):
        return NPY, JSON
    if torch is not None and isinstance(value, torch.Tensor):
        return (NPY,)
    if arrow is not None and isinstance(value, arrow.Table | arrow.RecordBatch | arrow.Array | arrow.ChunkedArray):
        return (ARROW,)
    if type(value).__module__.partition(".")[0] in _FRAMES:
        return (ARROW,)
    return (JSON,)


def _render(value: Any, offer: str) -> bytes:
    if offer == OCTETS:
        return bytes(value)
    if offer == TEXT:
        return bytes(value.encode())
    if offer == NPY:
        return _render_npy(value)
    if offer == ARROW:
        return _render_arrow(value)
    try:
        return json.dumps(as_json(value), ensure_ascii=not _is_text(value), separators=(",", ":")).encode()
    except ValueError as error:  # An integer beyond the digits that Python writes.
        raise NotAsJsonError(str(error)) from error


def _is_text(value: Any) -> bool:
    # A lone surrogate may stand deep inside, and escaping is right for it; plain text may stay readable.
    return isinstance(value, str) and value.isprintable()


def _render_npy(value: Any) -> bytes:
    import numpy as np

    try:
        array = value if isinstance(value, np.ndarray) else value.numpy()
    except TypeError as error:  # Torch has types that NumPy lacks, bfloat16 among them.
        raise NotAsJsonError(str(error)) from error
    if not _is_npy(array.dtype):
        raise NotAsJsonError(f".npy has no {array.dtype}")
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _is_npy(dtype: Any) -> bool:
    # Types of ml_dtypes would be written as void, and texts of any length as a pickle.
    if dtype.names is not None:
        return all(_is_npy(dtype[name]) for name in dtype.names)
    return dtype.base.type.__module__ == "numpy" and dtype.base.kind not in "OT"


def _render_arrow(value: Any) -> bytes:
    import pyarrow as pa

    out = pa.BufferOutputStream()
    try:
        table = _as_table(value)
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write(table)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise NotAsJsonError(f"Arrow has no place for it: {error}") from error
    return bytes(out.getvalue().to_pybytes())


def _as_table(value: Any) -> Any:
    """Return an Arrow table or batch with a value's columns; one that has a single column calls it 'values'."""
    import pyarrow as pa

    library, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if library == "pandas":
        return pa.Table.from_pandas(value if kind == "DataFrame" else value.to_frame(name="values"))
    if library == "polars" and kind == "DataFrame":
        return value.to_arrow()
    if isinstance(value, pa.Table | pa.RecordBatch):
        return value
    return pa.table({"values": value.to_arrow() if library == "polars" else value})


def _parse_json(body: bytes) -> Any:
    value = json.loads(body.decode(), parse_constant=_refuse_constant, parse_float=_parse_float)
    if isinstance(value, list | dict):
        encode(value)  # In a region that allows pickle, what no codec takes would become a pickle.
    return value


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is beyond a double")
    return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"JSON has no {text}")


def _parse_npy(body: bytes) -> Any:
    import numpy as np

    stream = io.BytesIO(body)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):
        raise ValueError("bytes stand behind the array")
    return array


def _parse_arrow(body: bytes) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(body) as reader:
        table = reader.read_all()
    table.validate(full=True)
    return table


def _media_type(header: str) -> tuple[str, str]:
    essence, *parameters = header.split(";")
    charset = "utf-8"
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = text.strip().strip('"').lower()
    return essence.strip().lower(), charset


def _quality(offer: str, accept: str | None) -> float:
    """Return the weight that an Accept header gives a media type; the most specific range counts (RFC 9110, 12.5.1)."""
    if accept is None or not accept.strip():
        return 1.0
    best = (-1, 0.0)
    for part in accept.split(","):
        essence, *parameters = (piece.strip().lower() for piece in part.split(";"))
        specificity = {offer: 2, offer.partition("/")[0] + "/*": 1, "*/*": 0}.get(essence, -1)
        if specificity > best[0]:
            best = (specificity, _weight(parameters))
    return best[1]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(text)))
            except ValueError:
                return 0.0
    return 1.0
