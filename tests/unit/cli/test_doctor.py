"""What the doctor makes of a machine: a sentence about each thing, and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from daycache_ray.cli.diagnosis import FAIL, OK, WARN, Finding, LaggingReader, Readings, diagnose
from daycache_ray.cli.doctor import read_machine
from daycache_ray.cli.main import app
from daycache_ray.storage.cluster_use import ClusterUse
from daycache_ray.storage.leftovers import ClusterFolder
from daycache_ray.words.config import ClusterConfig

GIB = 1024**3
NO_PROCESS = 2**22 + 1
"""Beyond the kernel's largest process id."""
HEALTHY = Readings(
    system="Linux",
    python=(3, 11, 7),
    packages={"ray": "2.60.0", "lmdb": "3.0.0", "torch": "2.13.0"},
    memory_total_bytes=8 * GIB,
    memory_free_bytes=7 * GIB,
    memory_file_system="tmpfs",
    memory_writable=True,
    cluster_folders=(),
    lagging_readers=(),
    open_files_max=65_536,
    has_boottime=True,
    auth_mode="disabled",
    has_token=False,
    ray_address="10.0.0.1:6379",
    ray_answers=True,
)


def test_a_healthy_machine_has_nothing_to_do() -> None:
    findings = diagnose(HEALTHY, ClusterConfig())

    assert {finding.verdict for finding in findings} == {OK}


@pytest.mark.parametrize(
    ("changes", "about", "verdict", "said", "advice"),
    [
        ({"python": (3, 9, 2)}, "Python", FAIL, "3.9.2", "3.10 or newer"),
        ({"system": "Darwin"}, "system", FAIL, "Darwin", "on Linux"),
        ({"packages": {"lmdb": None}}, "lmdb", FAIL, "not installed", "pip install lmdb"),
        ({"packages": {"ray": "2.9.3"}}, "ray", FAIL, "2.9.3", "2.60 or newer"),
        ({"packages": {"ray": "2.60.0rc1"}}, "ray", OK, "2.60.0rc1", ""),
        ({"memory_total_bytes": None}, "/dev/shm", FAIL, "no directory", "tmpfs"),
        ({"memory_writable": False}, "/dev/shm", FAIL, "written", "right"),
        ({"memory_total_bytes": 64 * 2**20, "memory_free_bytes": 2**20}, "/dev/shm", FAIL, "64 MiB", "--shm-size=2g"),
        ({"memory_free_bytes": GIB}, "/dev/shm", WARN, "1.5 GiB with all copies", "replicas: 1"),
        ({"memory_file_system": "ext4"}, "/dev/shm", WARN, "ext4, not tmpfs", "mount a tmpfs"),
        ({"cluster_folders": (ClusterFolder("/s-1", 4096, True, "is dead"),)}, "/s-1", WARN, "4 KiB; is dead", "--fix"),
        ({"cluster_folders": (ClusterFolder("/s-2", 0, False, "lives"),)}, "/s-2", OK, "lives", ""),
        ({"lagging_readers": (LaggingReader("/s", 7, "app", 12_000),)}, "/s", WARN, "7 (app) holds", "end that"),
        ({"open_files_max": 1024}, "open files", WARN, "1024", "ulimit -n"),
        ({"open_files_max": -1}, "open files", OK, "unlimited", ""),
        ({"auth_mode": None}, "RAY_AUTH_MODE", WARN, "not set", "token or disabled"),
        ({"auth_mode": "token"}, "RAY_AUTH_MODE", FAIL, "no token", "ray get-auth-token --generate"),
        ({"auth_mode": "token", "has_token": True}, "RAY_AUTH_MODE", OK, "token", ""),
        ({"ray_address": None}, "Ray", WARN, "none runs", "ray start --head"),
        ({"ray_answers": False}, "Ray", FAIL, "nothing answers at 10.0.0.1:6379", "--address"),
    ],
)
def test_findings(changes: dict[str, Any], about: str, verdict: str, said: str, advice: str) -> None:
    findings = [one for one in diagnose(HEALTHY._replace(**changes), ClusterConfig()) if one.about == about]

    assert any(
        one.verdict == verdict and said in one.said and (advice in one.advice if advice else not one.advice)
        for one in findings
    ), findings


def test_this_machine_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "daycache" / "shop-1f").mkdir(parents=True)

    readings = read_machine(str(tmp_path), None)

    assert readings.memory_total_bytes is not None
    assert readings.memory_free_bytes is not None
    assert 0 < readings.memory_free_bytes <= readings.memory_total_bytes
    assert [Path(folder.path).name for folder in readings.cluster_folders] == ["shop-1f"]
    assert readings.ray_address is None
    assert readings.packages["ray"]


def test_an_address_without_a_port_is_not_asked(tmp_path: Path) -> None:
    assert read_machine(str(tmp_path), "head").ray_answers is False


def test_exit_code_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daycache_ray.cli.doctor.read_machine", lambda memory_path, address: HEALTHY)
    assert RUN(["doctor"]) == (0, "ok    Python: 3.11.7")

    monkeypatch.setattr(
        "daycache_ray.cli.doctor.diagnose", lambda readings, config: (Finding("Ray", FAIL, "is ill", "Cure it."),)
    )
    assert RUN(["doctor"]) == (1, "FAIL  Ray: is ill")
    code, line = RUN(["doctor", "--json"])
    assert (code, json.loads(line)["healthy"]) == (1, False)


def test_fix_removes_what_is_left_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("DAYCACHE_MEMORY_PATH", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ClusterUse(str(tmp_path / "daycache" / "gone-1f"), NO_PROCESS).release()
    living = ClusterUse(str(tmp_path / "daycache" / "here-2e"), NO_PROCESS)

    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert (tmp_path / "daycache" / "gone-1f").exists(), done.output
    done = CliRunner().invoke(app, ["doctor", "--fix", "--json"])

    assert "are free again" in json.loads(done.stdout)["findings"][0]["said"]
    assert sorted(path.name for path in (tmp_path / "daycache").iterdir()) == ["here-2e"]
    living.release()


def RUN(arguments: list[str]) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout.splitlines()[0]
