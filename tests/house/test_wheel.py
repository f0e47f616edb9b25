"""What users install: one package with everything in it, its types declared, and nothing beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, house


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel that is built from the files git knows, in a folder of its own."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in files():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy, follow_symlinks=False)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_one_package_and_its_metadata(wheel: list[str]) -> None:
    tops = {Path(name).parts[0] for name in wheel}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"daycache_ray"}
    assert "daycache_ray/py.typed" in wheel, "type checkers need py.typed: [tool.setuptools.package-data]"
    assert any(name.endswith("licenses/LICENSE") for name in wheel)


def test_every_module_is_in_it(wheel: list[str]) -> None:
    expected = {
        ("daycache_ray/" if source.path.relative_to(ROOT).parts[0] in {"actors", "serve"} else "") + str(source)
        for source in house()
    }

    assert expected <= set(wheel), f"missing: {sorted(expected - set(wheel))}; is there an __init__.py beside each?"
    assert {name for name in wheel if name.endswith(".py")} <= expected
