"""What is told of accesses: every one once, in order, and a get that loads says so at once."""

from __future__ import annotations

from collections import deque

import pytest

from daycache_ray.client.access_stream import AccessStream, prefetcher_address, take
from daycache_ray.words.config import ClusterConfig, PredictionConfig, RegionConfig
from tests.unit.client.one_replica import Stage, cluster_map


def test_batches_are_cut_and_keep_their_order() -> None:
    waiting: deque[bytes | tuple[bytes]] = deque([b"a", (b"b",), b"c"])
    assert take(waiting, 2) == ([b"a", b"b"], b"\x01\x00")
    assert take(waiting, 2) == ([b"c"], b"\x01")
    assert take(waiting, 2) == ([], b"")


def test_without_a_prefetcher_accesses_are_dropped_and_counted() -> None:
    stage = Stage()
    stream = AccessStream(stage.session)
    stream._reads.append(stage.core.reads)
    stage.region.get("a")
    assert stream.ship() == 1
    assert (stream.sent_count, stream.dropped_count) == (0, 1)
    assert not stage.core.reads.accesses


def test_where_the_prefetcher_listens() -> None:
    region = RegionConfig(name="orders")
    nowhere = cluster_map(region)
    assert prefetcher_address(nowhere, "here") is None
    fields = {name: getattr(nowhere, name) for name in nowhere.__dataclass_fields__}
    near = type(nowhere)(
        **fields
        | {
            "prefetcher_node_id": "here",
            "prefetcher_socket_path": "/p",
            "prefetcher_host": "h",
            "prefetcher_port": 5,
        }
    )
    assert prefetcher_address(near, "here") == ("/p", "", 0)
    assert prefetcher_address(near, "far") == ("", "h", 5)


def test_a_load_is_one_access_and_wakes_the_stream() -> None:
    stage = Stage()
    woken: list[int] = []
    stage.core.reads.wake_stream = lambda: woken.append(1)
    stage.region.get_or_load("a", lambda key: 1)
    assert woken == [1]
    assert len(stage.core.reads.accesses) == 1
    stage.region.get_or_load("a", lambda key: 1)
    assert woken == [1]
    assert len(stage.core.reads.accesses) == 2
    stage.region.get_or_load_many(["a", "b"], lambda key: 1)
    assert len(stage.core.reads.accesses) == 4


def test_no_thread_where_prediction_is_off() -> None:
    stage = Stage()
    shop = stage.session.router.cluster_map
    config = ClusterConfig(name="shop", regions=(stage.config,), prediction=PredictionConfig(enabled=False))
    object.__setattr__(shop, "config", config)
    stream = AccessStream(stage.session)
    stream.add(stage.core.reads)
    assert stream._thread is None
    stream.close()


@pytest.mark.parametrize("count", [1, 5_000])
def test_a_reader_never_waits_and_memory_is_bounded(count: int) -> None:
    stage = Stage()
    for number in range(count):
        stage.core.reads.accesses.append(b"%d" % number)
    assert len(stage.core.reads.accesses) == min(count, 4_096)
    assert stage.core.reads.accesses[-1] == b"%d" % (count - 1)
