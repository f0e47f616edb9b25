"""HttpLoader against a real server: what is there, what is not, what fails, and how long it may take."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daycache_ray.origins.http import HttpLoader
from daycache_ray.origins.loading import resolve_loader
from daycache_ray.words.errors import LoadError
from daycache_ray.words.ports import MISSING
from tests.servers.conftest import PriceServer


@pytest.fixture
def loaders() -> Iterator[Callable[..., HttpLoader]]:
    """Makes loaders that hang up when the test is over."""
    made: list[HttpLoader] = []

    def make(*arguments: Any, **options: Any) -> HttpLoader:
        made.append(HttpLoader(*arguments, **options))
        return made[-1]

    yield make
    for loader in made:
        loader.close()


def test_one_key(loaders: Any, prices: PriceServer) -> None:
    loader = resolve_loader(loaders(prices.url + "/prices/{key}"))
    assert loader.load("AAPL") == 150.25
    assert loader.load("nothing") is None
    assert loader.load("nope") is MISSING
    assert loader.load("a/b c") == "slashed"
    assert prices.asked[-1] == "/prices/a%2Fb%20c"


def test_many_keys_one_by_one_or_in_one_request(loaders: Any, prices: PriceServer) -> None:
    loader = resolve_loader(loaders(prices.url + "/prices/{key}", concurrency_max=2))
    assert loader.load_many(["AAPL", "nope", "nothing"]) == {"AAPL": 150.25, "nothing": None}
    assert len(prices.asked) == 3
    batched = resolve_loader(loaders(prices.url + "/prices/{key}", batch_url=prices.url + "/many?of={keys}"))
    assert batched.load_many(["AAPL", "nope", "nothing"]) == {"AAPL": 150.25, "nothing": None}
    assert prices.asked[3:] == ["/many?of=AAPL,nope,nothing"]


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_a_status_that_is_no_answer(loaders: Any, prices: PriceServer, status: int) -> None:
    prices.status = status
    with pytest.raises(LoadError, match=str(status)):
        resolve_loader(loaders(prices.url + "/prices/{key}?token=s3cret")).load("AAPL")


@pytest.mark.parametrize("status", [404, 410])
def test_a_status_that_says_there_is_none(loaders: Any, prices: PriceServer, status: int) -> None:
    prices.status = status
    loader = resolve_loader(loaders(prices.url + "/{key}", batch_url=prices.url + "/many?of={keys}"))
    assert loader.load("AAPL") is MISSING
    assert loader.load_many(["AAPL", "MSFT"]) == {}


def test_a_body_that_drips_ends_at_the_deadline(loaders: Any, prices: PriceServer) -> None:
    prices.drips.set()
    started_s = time.monotonic()
    with pytest.raises(LoadError, match="within 0.3 s"):
        resolve_loader(loaders(prices.url + "/{key}", deadline_s=0.3)).load("AAPL")
    assert time.monotonic() - started_s < 5


def test_nobody_listens(loaders: Any, prices: PriceServer) -> None:
    with pytest.raises(LoadError, match="ConnectError"):
        resolve_loader(loaders("http://127.0.0.1:9/{key}")).load("AAPL")


def test_a_body_that_cannot_be_read(loaders: Any, prices: PriceServer) -> None:
    with pytest.raises(LoadError, match="body="):
        resolve_loader(loaders(prices.url + "/html/{key}")).load("x")
    text = loaders(prices.url + "/html/{key}", body="text")
    assert resolve_loader(text).load("x") == "<html>"


async def test_from_two_loops_and_after_pickling(loaders: Any, prices: PriceServer) -> None:
    loader = loaders(prices.url + "/prices/{key}")
    assert await loader.load("AAPL") == 150.25
    assert await asyncio.to_thread(resolve_loader(loader).load, "AAPL") == 150.25
    copy = pickle.loads(pickle.dumps(loader))
    assert await copy.load("AAPL") == 150.25
    copy.close()
    assert await copy.load("AAPL") == 150.25
    copy.close()
    loader.close()
    await asyncio.sleep(0)
