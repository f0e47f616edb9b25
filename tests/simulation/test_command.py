"""The command line of the simulator: replaying, shrinking, histories, the table of mutations."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from daycache_ray.simulation.__main__ import main


def test_a_failure_names_the_command_that_replays_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--without", "R13", "--no-shrink"]) == 1
    said = capsys.readouterr().out
    assert "python -m daycache_ray.simulation --seeds 1 --first-seed 0 --without R13\n" in said


def test_a_failing_seed_is_made_smaller_and_the_smaller_one_fails_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--without", "R10"]) == 1
    said = capsys.readouterr().out
    command = said.strip().splitlines()[-1]
    assert "--trouble-ms" in command
    assert main(shlex.split(command)[3:]) == 1
    assert "made smaller" not in capsys.readouterr().out


def test_seeds_that_hold_exit_with_nought(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--seeds", "2", "--json", str(tmp_path / "figures.json")]) == 0
    assert "2 seeds" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["failure"] is None
    assert figures["calls_count"] > 100


def test_two_processes_play_the_same_seeds(tmp_path: Path) -> None:
    figures = []
    for workers in ("1", "2"):
        assert main(["--seeds", "26", "--clients", "2", "--workers", workers, "--json", str(tmp_path / workers)]) == 0
        figures.append(json.loads((tmp_path / workers).read_text()) | {"cpu_s": 0})
    assert figures[0] == figures[1]


def test_a_history_has_a_line_for_each_operation(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert main(["--first-seed", "3", "--history", str(path)]) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) > 100
    assert {line["op"] for line in lines} >= {"get", "set", "increment", "compare_and_set"}
    for line in lines:
        assert line["return_ns"] is None or line["return_ns"] >= line["invoke_ns"]
        assert (line["return_ns"] is None) == (line["result"] == "unknown")
    requests = [(line["client"], line["seq"]) for line in lines if line["seq"]]
    assert len(requests) == len(set(requests))


def test_every_mutation_is_caught(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--mutations", "--json", str(tmp_path / "table.json")]) == 0
    assert "0 missed, of 41" in capsys.readouterr().out
    rows = json.loads((tmp_path / "table.json").read_text())
    assert [row["rule"] for row in rows] == [f"R{number}" for number in range(1, 42)]


def test_a_fault_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--faults", "earthquake"])
    assert "unknown fault earthquake" in capsys.readouterr().err
