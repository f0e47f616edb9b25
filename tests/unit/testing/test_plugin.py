"""The pytest plugin, as a user's test file uses it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

USERS_TESTS = """
import pytest
from daycache_ray import ClusterConfig, RegionConfig

def test_plain(daycache):
    daycache.region("market_data").set("k", 1, ttl_s=5)
    daycache.advance(5)
    assert daycache.region("market_data").get("k") is None

def test_each_test_has_its_own(daycache):
    assert list(daycache.region("market_data").scan()) == []

async def test_async(async_daycache):
    await async_daycache.region("market_data").set("k", 1)
    assert await async_daycache.region("market_data").get("k") == 1

class TestOther:
    @pytest.fixture
    def daycache_config(self):
        return ClusterConfig(name="shop", regions=[RegionConfig(name="orders")])

    def test_other_regions(self, daycache):
        daycache.region("orders").set("k", 1)
"""


def test_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(USERS_TESTS)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    result = pytester.runpytest_inprocess("-p", "daycache_ray.testing.plugin")
    result.assert_outcomes(passed=4)
