"""The description in /openapi.json: requests made from it get the answers that it promises, never a 5xx."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection

from daycache_ray.serve.http_api import create_api
from tests.unit.serve.fake_cache import FakeCluster

schemathesis.serializer.alias(["application/x-npy", "application/vnd.apache.arrow.stream"], "application/octet-stream")
cluster = FakeCluster()
schema = schemathesis.openapi.from_asgi("/openapi.json", create_api(cluster.cache, cluster.cluster_map))


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case: schemathesis.Case) -> None:
    # A header is not looked at where the query says the same thing, so a wrong one may pass.
    case.call_and_validate(excluded_checks=[negative_data_rejection])


def test_every_route_is_described() -> None:
    described = create_api(cluster.cache, cluster.cluster_map).openapi()
    assert set(described["paths"]) == {
        "/v1/regions/{region}/entries/{key}",
        "/v1/regions/{region}/entries:batchGet",
        "/v1/statistics",
        "/v1/cluster",
        "/healthz",
        "/readyz",
    }
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and method != "head":
                    assert "example" in answer["content"]["application/problem+json"], (path, method, status)
