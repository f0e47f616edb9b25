"""A cluster's directory is removed only with proof that nobody uses it or will."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daycache_ray.storage import leftovers
from daycache_ray.storage.cluster_use import ClusterUse, Host, host_of, is_alive
from daycache_ray.storage.directory import OwnerLock, replica_directory
from daycache_ray.storage.leftovers import ClusterFolder, examine, remove_leftovers
from daycache_ray.storage.store import Store
from daycache_ray.words.types import ShardId

NO_PROCESS = 2**22 + 1
"""Beyond the kernel's largest process id."""

SHARD = ShardId("orders", 0)


def cluster(memory: Path, name: str, host_pid: int = NO_PROCESS) -> str:
    """Leave a cluster's directory with one store behind; return the store's directory."""
    use = ClusterUse(str(memory / "daycache" / name), host_pid)
    directory = replica_directory(str(memory), name, SHARD, 0)
    Store.open(directory, cluster=name, shard=SHARD, seat=0, limit_bytes=1 << 20).close()
    use.release()
    return directory


def names(memory: Path) -> list[str]:
    return sorted(os.listdir(memory / "daycache"))


def verdict(memory: Path, **about: object) -> tuple[bool, str]:
    """The judgement of the only folder there."""
    (found,) = examine(str(memory), **about)  # type: ignore[arg-type]
    return found.is_left, found.reason


def test_what_a_dead_node_left_is_removed(tmp_path: Path) -> None:
    cluster(tmp_path, "gone-1f")
    assert verdict(tmp_path) == (True, "the Ray node that ran its cluster is dead")
    (removed,) = remove_leftovers(str(tmp_path))
    assert isinstance(removed, ClusterFolder)
    assert removed.size_bytes > 100 << 10
    assert names(tmp_path) == []
    assert remove_leftovers(str(tmp_path)) == []


def test_a_living_node_may_send_an_owner_again(tmp_path: Path) -> None:
    cluster(tmp_path, "shop-1f", os.getpid())
    left, reason = verdict(tmp_path)
    assert not left
    assert f"lives, process {os.getpid()}" in reason
    # The asker's own node: Ray decides.
    assert verdict(tmp_path, own_host_pid=os.getpid())[0] is False
    assert verdict(tmp_path, is_known=lambda *_: False)[0] is False
    assert verdict(tmp_path, is_known=lambda *_: False, own_host_pid=os.getpid()) == (
        True,
        "Ray no longer knows its cluster",
    )


def test_what_ray_knows_stays_though_every_process_is_dead(tmp_path: Path) -> None:
    cluster(tmp_path, "my-shop-1f")
    asked: list[tuple[str, str]] = []

    def is_known(name: str, cluster_id: str) -> bool:
        asked.append((name, cluster_id))
        return True

    assert remove_leftovers(str(tmp_path), is_known, own_host_pid=NO_PROCESS) == []
    assert asked == [("my-shop", "1f")]
    assert names(tmp_path) == ["my-shop-1f"]


def test_a_process_of_the_cluster_keeps_it(tmp_path: Path, in_another_process: Callable[..., str]) -> None:
    directory = str(tmp_path / "daycache" / "shop-1f")
    cluster(tmp_path, "shop-1f")
    cluster(tmp_path, "gone-2e")
    script = """
import os, sys
from daycache_ray.storage.cluster_use import ClusterUse
from daycache_ray.storage.leftovers import examine, remove_leftovers
use = ClusterUse(sys.argv[1], int(sys.argv[2]))
asked, told = os.pipe()
if os.fork() == 0:
    # A forked child does not count as its parent, and its end does not end the parent's word.
    print(len(remove_leftovers(sys.argv[3])), flush=True)
    os._exit(0)
os.wait()
print([folder.reason for folder in examine(sys.argv[3])])
use.release()
use.release()
print(len(remove_leftovers(sys.argv[3])))
"""
    said = in_another_process(script, directory, str(NO_PROCESS), str(tmp_path))
    assert said == "1\n['processes of its cluster run here']\n1\n"


def test_a_living_owner_keeps_it(tmp_path: Path) -> None:
    lock = OwnerLock(cluster(tmp_path, "shop-1f"))
    left, reason = verdict(tmp_path)
    assert not left
    assert "has a living owner" in reason
    lock.release()
    assert verdict(tmp_path)[0]


def test_another_users_directory_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(tmp_path, "shop-1f")
    mine = os.geteuid()
    monkeypatch.setattr(leftovers.os, "geteuid", lambda: mine + 1)
    assert verdict(tmp_path) == (False, f"it belongs to user {mine}")
    assert remove_leftovers(str(tmp_path)) == []


def test_another_pid_namespace_is_not_judged(tmp_path: Path) -> None:
    cluster(tmp_path, "shop-1f")
    path = tmp_path / "daycache" / "shop-1f" / "in-use"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "pid_namespace": said["pid_namespace"] + 1}))
    left, reason = verdict(tmp_path)
    assert not left
    assert "PID namespace" in reason
    path.write_text(json.dumps({**said, "boot_id": "another boot", "pid_namespace": 1}))
    assert verdict(tmp_path)[0]


def test_a_link_is_no_directory_of_ours(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "daycache").mkdir()
    (tmp_path / "daycache" / "shop-1f").symlink_to(tmp_path / "elsewhere")
    assert examine(str(tmp_path), unmarked_before_s=time.time() + 1) == []
    assert remove_leftovers(str(tmp_path), unmarked_before_s=time.time() + 1) == []
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_without_a_mark_only_age_and_a_request_remove_it(tmp_path: Path, text: str | None) -> None:
    cluster(tmp_path, "shop-1f")
    mark = tmp_path / "daycache" / "shop-1f" / "in-use"
    mark.unlink()
    if text is not None:
        mark.write_text(text)
    assert remove_leftovers(str(tmp_path)) == []
    assert remove_leftovers(str(tmp_path), unmarked_before_s=time.time() - 60) == []
    assert len(remove_leftovers(str(tmp_path), unmarked_before_s=time.time() + 60)) == 1


def test_a_removal_that_broke_off_is_finished(tmp_path: Path) -> None:
    cluster(tmp_path, "shop-1f", os.getpid())
    (tmp_path / "daycache" / ".removing-00" / "orders").mkdir(parents=True)
    assert remove_leftovers(str(tmp_path)) == []
    assert names(tmp_path) == ["shop-1f"]


def test_a_directory_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    path = str(tmp_path / "daycache" / "shop-1f")
    first = ClusterUse(path, NO_PROCESS)
    os.rename(path, str(tmp_path / "away"))
    second = ClusterUse(path, os.getpid())
    assert os.path.exists(os.path.join(path, "in-use"))
    assert verdict(tmp_path)[0] is False
    first.release()
    second.release()


def test_hosts() -> None:
    me = host_of(os.getpid())
    assert is_alive(me) is True
    assert is_alive(host_of(NO_PROCESS)) is False
    assert is_alive(Host(me.pid, me.started_ticks + 1, me.boot_id, me.pid_namespace)) is False
    assert is_alive(Host(me.pid, me.started_ticks, "another boot", me.pid_namespace)) is False
    assert is_alive(Host(me.pid, me.started_ticks, me.boot_id, me.pid_namespace + 1)) is None


def test_other_users_may_have_clusters_beside_ours(tmp_path: Path) -> None:
    cluster(tmp_path, "shop-1f")
    assert (tmp_path / "daycache").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "daycache" / "shop-1f").stat().st_mode & 0o7777 == 0o700
