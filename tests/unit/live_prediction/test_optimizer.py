"""The optimizer's answers with and without a cache; the cache here is a map and a name."""

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daycache_ray.client.optimizer import AdaptiveCacheOptimizer
from daycache_ray.storage.hint_table import Hint, HintWriter, hint_hash, hint_seed
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.words.config import ClusterConfig, RegionConfig
from daycache_ray.words.errors import InvalidArgumentError, InvalidKeyError
from daycache_ray.words.types import AccessPattern, CacheOptimizationContext, CacheRegion

CONTEXT = CacheOptimizationContext(
    service_name="market-data-service", region=CacheRegion.MARKET_DATA, current_hit_rate=0.85, avg_access_time_ms=2.5
)


@pytest.fixture
def writer(tmp_path):
    writer = HintWriter(tmp_path / "hints", slots=64)
    yield writer
    writer.close()


def _cache(directory, regions=None, service="market-data-service"):
    config = ClusterConfig(regions=regions) if regions else ClusterConfig()
    shards = {region.name: () for region in config.regions}
    return SimpleNamespace(
        service_name=service, cluster_map=SimpleNamespace(directory=str(directory), config=config, shards=shards)
    )


def _put(writer, key, hint, region="market_data", service="market-data-service"):
    writer.put(hint_hash(store_key(key.encode(), service_prefix(service.encode())), hint_seed(region)), hint)


def _hint(probability=0.97, pattern=AccessPattern.HOT, rate_per_s=20.0, age_s=0.0, reload_s=0.0):
    return Hint(probability, pattern, reload_s, rate_per_s, 0.0, int((time.time() - age_s) * 1000))


def test_without_a_cache_it_answers_from_priors_and_says_so():
    optimizer = AdaptiveCacheOptimizer()
    probability = optimizer.predict_access_probability("AAPL", CONTEXT)
    assert 0.0 < probability < 1.0
    assert optimizer.calculate_optimal_ttl("AAPL", probability, CONTEXT) > 0.0
    assert optimizer.classify("AAPL") is AccessPattern.COLD
    explained = optimizer.explain("AAPL", CONTEXT)
    assert explained.source == "prior"
    assert "no cache" in explained.reason
    assert explained.age_s is None
    assert explained.probability == probability


def test_priors_know_region_service_and_how_it_goes():
    optimizer = AdaptiveCacheOptimizer()

    def ask(**changes):
        fields = {name: getattr(CONTEXT, name) for name in CONTEXT.__dataclass_fields__} | changes
        context = CacheOptimizationContext(**fields)
        probability = optimizer.predict_access_probability("k", context)
        return probability, optimizer.calculate_optimal_ttl("k", 0.8, context)

    assert ask(current_hit_rate=0.9)[0] > ask(current_hit_rate=0.3)[0]
    assert ask(service_name="hft-service")[0] > ask(service_name="analysis-service")[0]
    market_ttl_s, analysis_ttl_s = ask()[1], ask(region="analysis_results")[1]
    assert market_ttl_s < 10.0 < analysis_ttl_s
    assert ask(avg_access_time_ms=20.0)[1] > ask(avg_access_time_ms=0.5)[1], "dear loads are kept longer"
    assert ask(region="a region of mine")[0] < ask()[0]


def test_what_was_observed_takes_the_place_of_the_prior(tmp_path, writer):
    _put(writer, "AAPL", _hint())
    optimizer = AdaptiveCacheOptimizer(_cache(tmp_path))
    assert optimizer.predict_access_probability("AAPL", CONTEXT) == pytest.approx(0.97, abs=0.01)
    assert optimizer.classify("AAPL") is AccessPattern.HOT
    assert optimizer.classify("AAPL", CONTEXT) is AccessPattern.HOT
    explained = optimizer.explain("AAPL", CONTEXT)
    assert (explained.source, explained.pattern, explained.rate_per_s) == ("observed", AccessPattern.HOT, 20.0)
    assert 0.0 <= explained.age_s < 60.0
    other = optimizer.explain("MSFT", CONTEXT)
    assert other.source == "prior"
    assert "not asked for" in other.reason


def test_a_rate_that_was_observed_moves_the_ttl(tmp_path, writer):
    _put(writer, "often", _hint(rate_per_s=50.0))
    _put(writer, "seldom", _hint(rate_per_s=0.05))
    _put(writer, "dear", _hint(rate_per_s=50.0, reload_s=2.0))
    optimizer = AdaptiveCacheOptimizer(_cache(tmp_path))
    often_s = optimizer.calculate_optimal_ttl("often", 0.9, CONTEXT)
    assert often_s < optimizer.calculate_optimal_ttl("seldom", 0.9, CONTEXT)
    assert often_s < optimizer.calculate_optimal_ttl("dear", 0.9, CONTEXT)


def test_services_do_not_see_each_others_hints_unless_they_share_the_region(tmp_path, writer):
    _put(writer, "k", _hint(), region="own")
    _put(writer, "k", _hint(), region="shared", service="")
    regions = [RegionConfig(name="own"), RegionConfig(name="shared", shared_between_services=True)]
    optimizer = AdaptiveCacheOptimizer(_cache(tmp_path, regions))
    sources = {
        (region, service): optimizer.explain("k", CacheOptimizationContext(service, region)).source
        for region in ("own", "shared")
        for service in ("market-data-service", "other")
    }
    assert sources == {
        ("own", "market-data-service"): "observed",
        ("own", "other"): "prior",
        ("shared", "market-data-service"): "observed",
        ("shared", "other"): "observed",
    }


def test_an_old_hint_fades_into_the_prior(tmp_path, writer):
    prior = AdaptiveCacheOptimizer().predict_access_probability("k", CONTEXT)
    _put(writer, "old", _hint(probability=0.01, age_s=900.0))
    _put(writer, "older", _hint(probability=0.01, age_s=300.0))
    _put(writer, "fresh", _hint(probability=0.01))
    optimizer = AdaptiveCacheOptimizer(_cache(tmp_path))
    fresh, older, old = (optimizer.predict_access_probability(key, CONTEXT) for key in ("fresh", "older", "old"))
    assert fresh == pytest.approx(0.01, abs=0.02)
    assert fresh < older < prior
    assert old == prior
    assert optimizer.classify("old") is AccessPattern.COLD


def test_a_prefetcher_that_starts_later_is_found(tmp_path, monkeypatch):
    optimizer = AdaptiveCacheOptimizer(_cache(tmp_path))
    explained = optimizer.explain("AAPL", CONTEXT)
    assert "no prefetcher" in explained.reason
    writer = HintWriter(tmp_path / "hints", slots=64)
    _put(writer, "AAPL", _hint())
    optimizer._look_at_s = 0.0
    assert optimizer.explain("AAPL", CONTEXT).source == "observed"
    writer.close()


def test_a_file_that_is_no_table_is_as_good_as_none(tmp_path):
    (tmp_path / "hints").write_bytes(b"garbage" * 1_000)
    assert AdaptiveCacheOptimizer(_cache(tmp_path)).explain("AAPL", CONTEXT).source == "prior"


def test_a_regions_ttl_is_the_longest_answer(tmp_path):
    optimizer = AdaptiveCacheOptimizer(_cache(tmp_path, [RegionConfig(name="analysis_results", ttl_s=20.0)]))
    context = CacheOptimizationContext("analysis-service", "analysis_results")
    assert optimizer.calculate_optimal_ttl("k", 1.0, context) == 20.0


def test_a_key_too_long_for_the_store_has_a_hint_as_well(tmp_path, writer):
    key = "k" * 3_000
    _put(writer, key, _hint())
    assert AdaptiveCacheOptimizer(_cache(tmp_path)).explain(key, CONTEXT).source == "observed"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e6))
def test_probabilities_are_probabilities_and_ttls_rise_with_them(one, other, hit_rate, access_ms):
    optimizer = AdaptiveCacheOptimizer()
    context = CacheOptimizationContext("s", "market_data", hit_rate, access_ms)
    assert 0.0 <= optimizer.predict_access_probability("k", context) <= 1.0
    low, high = sorted((one, other))
    shorter_s = optimizer.calculate_optimal_ttl("k", low, context)
    assert 0.0 < shorter_s <= optimizer.calculate_optimal_ttl("k", high, context)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"current_hit_rate": 85.0}, "0.85"),
        ({"current_hit_rate": float("nan")}, "ratio"),
        ({"avg_access_time_ms": -1.0}, "milliseconds"),
        ({"avg_access_time_ms": float("inf")}, "milliseconds"),
        ({"service_name": ""}, "1 to 64"),
        ({"service_name": "x" * 300}, "1 to 64"),
    ],
)
def test_impossible_contexts_are_refused_with_what_to_write(changes, said):
    fields = {"service_name": "s", "region": "market_data"} | changes
    with pytest.raises(InvalidArgumentError, match=said):
        AdaptiveCacheOptimizer().predict_access_probability("k", CacheOptimizationContext(**fields))


def test_impossible_keys_and_probabilities_are_refused():
    optimizer = AdaptiveCacheOptimizer()
    with pytest.raises(InvalidKeyError):
        optimizer.classify("")
    with pytest.raises(InvalidKeyError):
        optimizer.predict_access_probability(7, CONTEXT)
    for probability in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidArgumentError):
            optimizer.calculate_optimal_ttl("k", probability, CONTEXT)
