"""Every error arrives whole from a Ray actor: its class, its builtin, its sentence and its fields."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from daycache_ray.words.errors import CacheError, all_error_types
from daycache_ray.words.types import Version

pytestmark = pytest.mark.usefixtures("embedded_ray")

FIELDS: dict[str, Any] = {"current": Version(3, 14), "retry_after_s": 0.25}


@pytest.fixture(scope="module")
def thrower() -> Any:
    @ray.remote(num_cpus=0)
    class Thrower:
        def throw(self, cls: type[CacheError]) -> None:
            raise cls("the sentence; what to do next", **FIELDS)

    return Thrower.remote()


@pytest.mark.parametrize("cls", all_error_types(), ids=lambda cls: cls.__name__)
def test_an_error_survives_an_actor(thrower: Any, cls: type[CacheError]) -> None:
    with pytest.raises(cls) as caught:
        ray.get(thrower.throw.remote(cls), timeout=60)

    # Ray gives an object that is both its own RayTaskError and what was raised; `cause` is the latter.
    arrived = caught.value.cause
    assert type(arrived) is cls
    assert str(arrived) == "the sentence; what to do next"
    assert arrived.fields == FIELDS
    assert arrived.current == Version(3, 14)
    for builtin in (base for base in cls.__mro__ if base.__module__ == "builtins"):
        assert isinstance(caught.value, builtin)
