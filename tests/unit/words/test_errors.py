"""The tree of errors: picklable, one root, three answers to "what next", builtins that people already catch."""

from __future__ import annotations

import copy
import pickle

import pytest

from daycache_ray.words import errors
from daycache_ray.words.errors import CacheError, RetryableError, UnavailableError, UsageError, all_error_types
from daycache_ray.words.types import Version

FIELDS = {"current": Version(2, 7), "retry_after_s": 0.5, "detail": ["a", None]}


@pytest.mark.parametrize("cls", all_error_types(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_class_message_and_fields(cls: type[CacheError], protocol: int) -> None:
    arrived = pickle.loads(pickle.dumps(cls("what happened; what to do", **FIELDS), protocol))

    assert type(arrived) is cls
    assert str(arrived) == arrived.message == "what happened; what to do"
    assert arrived.fields == FIELDS
    assert (arrived.current, arrived.retry_after_s, arrived.detail) == (Version(2, 7), 0.5, ["a", None])


@pytest.mark.parametrize("cls", all_error_types(), ids=lambda cls: cls.__name__)
def test_copy_and_no_message(cls: type[CacheError]) -> None:
    assert type(copy.copy(cls())) is cls
    assert str(cls()) == ""


@pytest.mark.parametrize("cls", all_error_types(), ids=lambda cls: cls.__name__)
def test_every_class_says_what_it_means(cls: type[CacheError]) -> None:
    assert cls.__doc__ is not None
    assert cls.__doc__.strip() != (cls.__base__.__doc__ or "").strip()


def test_all_error_types_knows_every_class_of_the_module() -> None:
    defined = {thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, CacheError)}

    assert set(all_error_types()) >= defined
    assert all_error_types()[0] is CacheError


def test_whose_fault_is_told_by_one_class_only() -> None:
    sides = (UsageError, RetryableError, UnavailableError)
    for cls in all_error_types():
        assert sum(issubclass(cls, side) for side in sides) <= 1, cls


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("DeadlineExceededError", TimeoutError),
        ("UnknownRegionError", KeyError),
        ("AccessDeniedError", PermissionError),
        ("ConfigError", ValueError),
        ("InvalidTtlError", ValueError),
        ("InvalidValueError", TypeError),
        ("CacheClosedError", RuntimeError),
        ("ClusterNotFoundError", LookupError),
    ],
)
def test_people_catch_the_builtin(name: str, builtin: type[Exception]) -> None:
    with pytest.raises(builtin) as caught:
        raise getattr(errors, name)("a sentence, not its repr")
    assert str(caught.value) == "a sentence, not its repr"
