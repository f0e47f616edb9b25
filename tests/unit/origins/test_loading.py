"""Every shape of loader answers the same, from a thread and from a loop; what is none is refused with a remedy."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from daycache_ray.origins.loading import KeyLoader, resolve_loader
from daycache_ray.origins.sealed import SealedLoader
from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING

PRICES = {"a": 1, "b": None}


def plain(key: str) -> Any:
    if key == "bad":
        raise ValueError("no such market")
    return PRICES.get(key, MISSING)


async def plain_async(key: str) -> Any:
    await asyncio.sleep(0)
    return plain(key)


class Single:
    def load(self, key: str) -> Any:
        return plain(key)


class Batch:
    def load_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        return {"unasked": 7, **{key: plain(key) for key in keys}}


class AsyncBatch:
    async def load_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return Batch().load_many(keys)


class Both(Single, Batch):
    pass


class AsyncCall:
    async def __call__(self, key: str) -> Any:
        return await plain_async(key)


here = __name__
SHAPES = {
    "callable": plain,
    "async callable": plain_async,
    "lambda of a coroutine": lambda key: plain_async(key),
    "Loader": Single(),
    "BatchLoader": Batch(),
    "async BatchLoader": AsyncBatch(),
    "both": Both(),
    "async __call__": AsyncCall(),
    "bound method": Single().load,
    "resolved": resolve_loader(plain),
    "sealed": SealedLoader.seal(Single()),
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def loader(request: pytest.FixtureRequest) -> KeyLoader:
    return resolve_loader(request.param)


def test_from_a_thread(loader: KeyLoader) -> None:
    assert loader.load("a") == 1
    assert loader.load("b") is None
    assert loader.load("c") is MISSING
    assert loader.load_many(["a", "c", "b"]) == {"a": 1, "b": None}
    assert loader.load_many([]) == {}


async def test_from_a_loop(loader: KeyLoader) -> None:
    assert await loader.aload("a") == 1
    assert await loader.aload("c") is MISSING
    assert await loader.aload_many(["a", "c", "b"]) == {"a": 1, "b": None}


async def test_what_it_raises_becomes_a_load_error(loader: KeyLoader) -> None:
    async def many() -> Any:
        return await loader.aload_many(["a", "bad"])

    for call in (lambda: loader.aload("bad"), many):
        with pytest.raises(LoadError, match="no such market") as caught:
            await call()
        assert isinstance(caught.value.__cause__, ValueError)
    for plain_call in (lambda: loader.load("bad"), lambda: loader.load_many(["a", "bad"])):
        with pytest.raises(LoadError, match="ValueError") as caught:
            await asyncio.to_thread(plain_call)
        assert isinstance(caught.value.__cause__, ValueError)


def test_a_place_is_imported() -> None:
    assert resolve_loader("os.path:basename").load("/a/b") == "b"
    assert resolve_loader("os:path.basename").load("/a/b") == "b"
    assert "os" not in repr(resolve_loader("json:loads"))
    assert "json:loads" in repr(resolve_loader("json:loads"))


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (None, "callable"),
        (7, "callable"),
        ({"a": 1}, "callable"),
        (Single, "an instance"),
        (lambda: 1, "one argument"),
        (lambda key, other: 1, "one argument"),
        ("json.loads", "package.module:name"),
        ("json:", "package.module:name"),
        (":loads", "package.module:name"),
        ("json:no_such", "has no 'no_such'"),
        ("no_such_module_of_ours:name", "cannot be imported"),
        ("os:sep", "is a text"),
        ("sys:version_info", "callable"),
    ],
)
def test_what_is_no_loader_is_refused(wrong: Any, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        resolve_loader(wrong)


def test_a_batch_that_is_no_mapping_is_the_loaders_fault() -> None:
    class Wrong:
        def load_many(self, keys: Sequence[str]) -> Any:
            return list(keys)

    with pytest.raises(LoadError, match="returned a list"):
        resolve_loader(Wrong()).load("a")


def test_async_loaders_keep_one_loop() -> None:
    async def loop_of(key: str) -> int:
        return id(asyncio.get_running_loop())

    loader = resolve_loader(loop_of)
    assert loader.load("a") == loader.load("b")


def test_an_async_loader_that_waits_for_another_is_told_so() -> None:
    inner = resolve_loader(plain_async)

    async def outer(key: str) -> Any:
        return inner.load(key)

    with pytest.raises(LoadError, match="await"):
        resolve_loader(outer).load("a")


def test_a_sealed_loader_travels_unopened() -> None:
    sealed = pickle.loads(pickle.dumps(SealedLoader.seal(lambda key: key * 2)))
    assert resolve_loader(sealed).load("a") == "aa"
    broken = SealedLoader(b"cno_such_module\nthing\n.")
    with pytest.raises(ConfigError, match="importable"):
        resolve_loader(broken)


def test_batching_is_known() -> None:
    assert resolve_loader(Both()).is_batched
    assert not resolve_loader(plain).is_batched
