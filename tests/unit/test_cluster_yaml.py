"""cluster.yaml passes Ray's own checks, and its commands are commands that exist."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import pytest
import typer
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from daycache_ray.cli.main import app
from tests.house.tree import ROOT


@pytest.fixture
def written() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text("utf-8"))
    return loaded


def test_ray_takes_it(written: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(written)))


def test_ray_would_refuse_a_misspelt_key(written: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="head_start_ray_comands"):
        validate_config(prepare_config({**written, "head_start_ray_comands": []}))


def test_ray_would_refuse_it_without_a_head(written: dict[str, Any]) -> None:
    del written["provider"]["head_ip"]
    with pytest.raises(Exception, match="head"):
        validate_config(prepare_config(written))


def test_the_package_is_installed_from_what_is_mounted(written: dict[str, Any]) -> None:
    (target,) = written["file_mounts"]
    assert written["file_mounts"][target] == "."
    install = next(command for command in written["setup_commands"] if " pip install" in command)
    assert shlex.split(install)[-1] == target
    assert f"-c {target}/constraints.txt" in install


def test_the_cache_comes_up_with_options_that_exist(written: dict[str, Any]) -> None:
    line = next(command for command in written["head_start_ray_commands"] if "daycache up" in command)
    words = shlex.split(line.split("daycache up", 1)[1].split(">", 1)[0])

    group = typer.main.get_command(app)
    command = group.commands["up"]  # type: ignore[attr-defined]
    options = command.make_context("up", words).params
    assert options["address"] == "127.0.0.1:6379"
    machines = 1 + len(written["provider"]["worker_ips"]) - 1  # the last address is nobody's
    assert options["nodes"] == machines


def test_every_start_says_how_it_authenticates(written: dict[str, Any]) -> None:
    for kind in ("head_start_ray_commands", "worker_start_ray_commands"):
        for command in written[kind]:
            assert "ray stop" in command or "RAY_AUTH_MODE=" in command, command
