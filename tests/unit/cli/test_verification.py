"""`daycache verify`: what it prints and how it ends, also when the walk is ended by a signal."""

from __future__ import annotations

import json
import os
from pathlib import Path

from typer.testing import CliRunner

from daycache_ray.cli.main import app
from daycache_ray.cli.verification import walk
from daycache_ray.storage.directory import generation_path, generations
from daycache_ray.storage.store import Store
from daycache_ray.words.types import ShardId


def make(folder: Path, name: str) -> str:
    directory = str(folder / name)
    Store.open(directory, cluster="c", shard=ShardId("r", 0), seat=0, limit_bytes=1 << 20).close()
    return directory


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["verify", *arguments])
    return done.exit_code, done.stdout


def test_whole_stores(tmp_path: Path) -> None:
    make(tmp_path, "a/0")
    make(tmp_path, "b/0")
    code, said = run(str(tmp_path))
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == ["ok", "ok"]
    code, said = run(str(tmp_path / "a"), "--json")
    assert (code, json.loads(said)["whole"]) == (0, True)
    assert json.loads(said)["stores"][0]["entries_count"] == 0


def test_a_damage_and_a_foreign_format_end_with_1(tmp_path: Path) -> None:
    damaged, foreign = make(tmp_path, "a"), make(tmp_path, "b")
    os.unlink(os.path.join(damaged, "fence"))
    identity = Path(foreign) / "identity"
    identity.write_bytes(identity.read_bytes().replace(b'"format":4', b'"format":7'))
    code, said = run(str(tmp_path))
    assert code == 1
    assert "1 damages" in said
    assert "StoreFormatError" in said
    assert "wipe the store" in said
    code, said = run(str(tmp_path), "--json")
    assert [store["whole"] for store in json.loads(said)["stores"]] == [False, False]


def test_nothing_there(tmp_path: Path) -> None:
    assert run(str(tmp_path))[0] == 1


def test_a_torn_file_ends_the_walk_and_not_us(tmp_path: Path) -> None:
    directory = make(tmp_path, "a")
    path = os.path.join(generation_path(directory, generations(directory)[-1]), "data.mdb")
    os.truncate(path, 8192)
    outcome = walk(directory, lambda done, of: None)
    assert outcome.report is not None
    assert not outcome.report.is_whole
