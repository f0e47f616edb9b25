"""Objects of types that a program has registered: enums, dataclasses, named tuples and pydantic models.

A type is stored by its name and its data, never by code: whoever reads must have registered the type under that name,
so that bytes cannot choose what runs. No constructor, `__post_init__` or validator runs when a value is read: the
fields come back as they were. A field that the class gained since has its default; one that it lost, or that has no
default, is an error rather than a guess. Knows nothing of MessagePack.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

from daycache_ray.words.errors import CorruptRecordError, InvalidArgumentError, InvalidValueError

NAME_BYTES_MAX: Final = 200
"""Longest name of a type; it is part of every value of it."""

_HEAP_TYPE: Final = 1 << 9
"""Bit of `type.__flags__` that types written in Python have (Py_TPFLAGS_HEAPTYPE)."""


class Shape(NamedTuple):
    """How values of one type are taken apart and made again; both ways raise for what is not exact."""

    take: Callable[[Any], Any]
    make: Callable[[Any], Any]


def name_of(cls: type, name: str | None) -> str:
    """Return the name that a type is stored under; raises InvalidArgumentError."""
    if name is None:
        if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
            raise InvalidArgumentError(
                f"'{cls.__module__}.{cls.__qualname__}' is another name in every program: give it one of its own, "
                "register_type(cls, name='…')"
            )
        name = f"{cls.__module__}.{cls.__qualname__}"
    if not isinstance(name, str) or not 1 <= len(name.encode("utf-8", "replace")) <= NAME_BYTES_MAX:
        raise InvalidArgumentError(f"name: text of 1 to {NAME_BYTES_MAX} bytes, not {name!r}")
    return name


def shape_of(cls: type) -> Shape:
    """Return how a type is taken apart; raises InvalidArgumentError for kinds of types that are not known here."""
    if not isinstance(cls, type):
        raise InvalidArgumentError(f"cls: a class, not {cls!r}")
    if issubclass(cls, enum.Enum):
        return Shape(_take_member, functools.partial(_make_member, cls))
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return Shape(_take_named_tuple, functools.partial(_make_named_tuple, cls))
    if _is_model(cls):
        return Shape(_take_model, functools.partial(_make_model, cls))
    if dataclasses.is_dataclass(cls):
        static = [base.__name__ for base in cls.__mro__ if base is not object and not base.__flags__ & _HEAP_TYPE]
        if static:
            raise InvalidArgumentError(
                f"'{cls.__qualname__}' is a {static[0]} too, and what it holds as such is no field: hold it in a field"
            )
        return Shape(_take_dataclass, functools.partial(_make_dataclass, cls))
    raise InvalidArgumentError(
        f"'{cls.__qualname__}' is no enum, dataclass, named tuple or pydantic model: make it one, or store its data"
    )


def _take_member(value: enum.Enum) -> Any:
    # A combination of flags is no member, and has a name on some Pythons only.
    return value._name_ if value._name_ in type(value).__members__ else value._value_


def _make_member(cls: type[enum.Enum], stored: Any) -> Any:
    if isinstance(stored, str):
        member = cls.__members__.get(stored)
        if member is None:
            _changed(cls, f"has no member {stored!r}")
        return member
    if not issubclass(cls, enum.Flag) or type(stored) is not int:
        _changed(cls, "is stored neither as a member nor as flags")
    try:
        return cls(stored)
    except ValueError as error:
        _changed(cls, str(error))


def _take_named_tuple(value: Any) -> dict[str, Any]:
    cls = type(value)
    _refuse_extras(cls, getattr(value, "__dict__", {}), ())
    return dict(zip(cls._fields, value, strict=True))


def _make_named_tuple(cls: Any, stored: Any) -> Any:
    found = _completed(cls, stored, cls._fields, lambda name: cls._field_defaults[name])
    return tuple.__new__(cls, [found[name] for name in cls._fields])


def _take_dataclass(value: Any) -> dict[str, Any]:
    cls: Any = type(value)
    names = _field_names(cls)
    try:
        taken = {name: getattr(value, name) for name in names}
    except AttributeError as error:
        raise InvalidValueError(f"this {cls.__qualname__} lacks a field: {error}; set it first") from error
    # A field may be an attribute of the class alone, so counting would not do.
    if not taken.keys() >= getattr(value, "__dict__", taken).keys():
        _refuse_extras(cls, value.__dict__, names)
    return taken


def _make_dataclass(cls: Any, stored: Any) -> Any:
    found = _completed(cls, stored, _field_names(cls), functools.partial(_dataclass_default, cls))
    value = object.__new__(cls)
    for name, item in found.items():
        object.__setattr__(value, name, item)  # Frozen ones have one of their own.
    return value


@functools.lru_cache(maxsize=1024)
def _field_names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def _dataclass_default(cls: Any, name: str) -> Any:
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING:
        raise KeyError(name)
    return field.default


def _is_model(cls: type) -> bool:
    return hasattr(cls, "__pydantic_validator__") and hasattr(cls, "model_fields")


def _take_model(value: Any) -> list[Any]:
    cls = type(value)
    fields = cls.model_fields
    attributes = value.__dict__
    if len(attributes) > len(fields):
        _refuse_extras(cls, attributes, fields)
    missing = [name for name in fields if name not in attributes]
    if missing:
        raise InvalidValueError(f"this {cls.__qualname__} lacks the field {missing[0]!r}: set it first")
    extra = value.__pydantic_extra__
    private = value.__pydantic_private__
    if private is not None:
        private = {name: item for name, item in private.items() if not _is_undefined(item)}
    return [{name: attributes[name] for name in fields}, extra, sorted(value.__pydantic_fields_set__), private]


def _make_model(cls: Any, stored: Any) -> Any:
    if not isinstance(stored, list) or len(stored) != 4:
        _changed(cls, "is not stored as a model")
    attributes, extra, fields_set, private = stored
    fields = cls.model_fields
    found = _completed(cls, attributes, fields, lambda name: _model_default(fields[name]))
    private = _model_private(cls, private)
    is_odd = not isinstance(extra, dict | None) or not isinstance(fields_set, list)
    if is_odd or not all(isinstance(name, str) for name in fields_set):
        _changed(cls, "is not stored as a model")
    value = cls.__new__(cls)
    object.__setattr__(value, "__dict__", found)
    object.__setattr__(value, "__pydantic_extra__", extra)
    object.__setattr__(value, "__pydantic_fields_set__", set(fields_set))
    object.__setattr__(value, "__pydantic_private__", private)
    return value


def _model_default(field: Any) -> Any:
    if field.is_required():
        raise KeyError
    return field.get_default(call_default_factory=True)


def _model_private(cls: Any, stored: Any) -> dict[str, Any] | None:
    known = cls.__private_attributes__
    if not known:
        if stored:
            _changed(cls, f"lost the private attributes {sorted(stored)}")
        return None if stored is None else {}
    found = dict(stored or {})
    unknown = [name for name in found if name not in known]
    if unknown:
        _changed(cls, f"lost the private attribute {unknown[0]!r}")
    for name, attribute in known.items():
        if name not in found and not _is_undefined(default := attribute.get_default()):
            found[name] = default
    return found


def _is_undefined(value: Any) -> bool:
    return type(value).__name__ == "PydanticUndefinedType"


def _completed(cls: Any, stored: Any, names: Any, default_of: Callable[[str], Any]) -> dict[str, Any]:
    """Return the fields in the order of the class, with the defaults of those that are not stored."""
    if not isinstance(stored, dict):
        _changed(cls, "is not stored as fields")
    lost = [name for name in stored if name not in names]
    if lost:
        _changed(cls, f"lost the field {lost[0]!r}")
    found = {}
    for name in names:
        if name in stored:
            found[name] = stored[name]
            continue
        try:
            found[name] = default_of(name)
        except Exception:
            _changed(cls, f"gained the field {name!r}, which has no default")
    return found


def _refuse_extras(cls: Any, attributes: Any, names: Any) -> None:
    for name in attributes:
        # What a cached property has computed is computed again where it is asked for.
        if name not in names and not isinstance(getattr(cls, name, None), functools.cached_property):
            raise InvalidValueError(
                f"this {cls.__qualname__} has an attribute {name!r} that is no field and would be lost: declare it"
            )


def _changed(cls: type, what: str) -> NoReturn:
    raise CorruptRecordError(
        f"the class '{cls.__module__}.{cls.__qualname__}' of this process is not that of the entry: it {what}; give "
        "fields defaults, register a changed class under a new name, or delete the entry"
    )
