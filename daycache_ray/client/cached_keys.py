"""The key of a cached call: where its function stands, and its arguments as text that is the same in every process.

Two calls have one key exactly when function and arguments are equal in type and value: f(1), f(True) and f(1.0)
are three calls, f(1) and f(x=1) are one. Refuses to know regions.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import inspect
import pathlib
from collections.abc import Callable
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from daycache_ray.words.errors import InvalidArgumentError
from daycache_ray.words.types import Key

READABLE_BYTES_MAX: Final = 400
"""Longer keys end in a digest: they stay below what the store takes as it is."""

_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None), Decimal, UUID})
_Kind = inspect.Parameter
_MOMENTS: Final = (datetime.date, datetime.time)


def argument_text(value: Any) -> str:
    """Return an argument as text; equal texts are equal arguments of one type.

    >>> argument_text(("AAPL", 5, {"b": 1.0, "a": None}))
    "('AAPL', 5, {'a': None, 'b': 1.0})"

    Raises:
        InvalidArgumentError: it has no such text: give `key=`.
    """
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if kind is tuple or kind is list:
        inside = ", ".join(map(argument_text, value))
        return f"({inside}{',' if len(value) == 1 else ''})" if kind is tuple else f"[{inside}]"
    if kind is dict:
        pairs = sorted((argument_text(key), argument_text(item)) for key, item in value.items())
        return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    if kind is set or kind is frozenset:
        return f"{kind.__name__}({', '.join(sorted(map(argument_text, value)))})"
    if isinstance(value, enum.Enum):
        return f"{_place(kind)}.{value.name}"
    if isinstance(value, type):
        return _place(value)
    if kind is datetime.timedelta or kind is complex or kind is bytearray:
        return f"{kind.__name__}({value!r})"
    if kind is datetime.datetime or kind in _MOMENTS:
        return f"{kind.__name__}({value.isoformat()})"
    if dataclasses.is_dataclass(value):
        fields = [f"{field.name}={argument_text(getattr(value, field.name))}" for field in dataclasses.fields(value)]
        return f"{_place(kind)}({', '.join(fields)})"
    raise InvalidArgumentError(
        f"a {kind.__qualname__} is no part of a key, because nothing says when two of them are equal: write "
        "cached(key=lambda …: …), a function of the same arguments that returns str or bytes"
    )


class CallKey:
    """Makes the keys of one function's calls."""

    def __init__(self, function: Callable[..., Any], key: Callable[..., Key] | None) -> None:
        """Raises InvalidArgumentError where the function has no name and no `key`."""
        if key is not None and not callable(key):
            raise InvalidArgumentError(f"key is a function of the call's arguments, not {type(key).__name__}")
        self._key = key
        self.name = _place(function)
        if key is None and self.name.endswith("<lambda>"):
            raise InvalidArgumentError("a lambda has no name that would tell it from others: give it a key=, or a def")
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters.values()
        is_plain = all(one.kind in (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD) for one in parameters)
        self._defaults = tuple(one.default for one in parameters) if is_plain else None
        self._needed_count = sum(one.default is _Kind.empty for one in parameters)

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key:
        """Return the key of a call.

        Raises:
            InvalidArgumentError: an argument has no text: give `key=`.
            TypeError: the function does not take these arguments.
        """
        if self._key is not None:
            key = self._key(*args, **kwargs)
            if not isinstance(key, (str, bytes)):
                raise InvalidArgumentError(f"key= of {self.name} returned a {type(key).__name__}; return str or bytes")
            return key
        defaults = self._defaults
        if defaults is not None and not kwargs and self._needed_count <= len(args) <= len(defaults):
            args += defaults[len(args) :]
        else:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args = tuple(bound.arguments.values())
        text = f"{self.name}({', '.join(map(argument_text, args))})"
        raw = text.encode("utf-8", "backslashreplace")
        if len(raw) > READABLE_BYTES_MAX:
            return f"{self.name[:READABLE_BYTES_MAX // 4]}#{blake2b(raw, digest_size=16).hexdigest()}"
        return raw.decode()


def _place(thing: Any) -> str:
    """Return where a function or class is defined, the same for whoever imports it."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    module = str(getattr(named, "__module__", ""))
    code = getattr(inspect.unwrap(thing), "__code__", None)
    if module == "__main__" and code is not None:
        # Every script is __main__; its file tells it from others.
        module = pathlib.Path(code.co_filename).stem
    return f"{module}:{named.__qualname__}"
