"""What stands in the repository is the project's own and works on any machine."""

from __future__ import annotations

import os
import re

from tests.house.tree import ROOT, failures_as_text, files

# Written in two parts, so that this file does not name them itself.
PLACES = re.compile(r"(?<![\w.~-])/(?:wor" r"k|hom" r"e|roo" r"t|User" r"s|op" r"t)/[\w.-]+")
INDEXES = re.compile(r"pypi" r"\.org|pythonhosted" r"\.org|--(?:extra-)?index" r"-url|find" r"-links")
TEXT_BYTES_MAX = 1024 * 1024


def _texts() -> list[tuple[str, str]]:
    found = []
    for path in files():
        if path.is_symlink() or path.stat().st_size > TEXT_BYTES_MAX:
            continue
        try:
            found.append((path.relative_to(ROOT).as_posix(), path.read_text("utf-8")))
        except UnicodeDecodeError:
            continue
    return found


def test_links_are_relative_and_lead_inside() -> None:
    failures = []
    for path in (path for path in files() if path.is_symlink()):
        target = os.readlink(path)
        inside = (path.parent / target).resolve().is_relative_to(ROOT.resolve())
        if target.startswith("/") or not inside or not path.exists():
            failures.append(f"{path.relative_to(ROOT)} -> {target}")
    assert not failures, failures_as_text(failures, "Make the link relative, to something in the repository.")


def test_actors_and_serve_are_linked_into_the_package() -> None:
    for name in ("actors", "serve"):
        assert os.readlink(ROOT / "daycache_ray" / name) == f"../{name}", "the link makes daycache_ray one package"
        assert not (ROOT / name).is_symlink()


def test_no_place_of_one_machine() -> None:
    failures = [
        f"{name}: {match[0]}"
        for name, text in _texts()
        if name not in {"LICENSE"}
        for match in PLACES.finditer(text)
    ]
    assert not failures, failures_as_text(failures, "Such a path exists on one machine only: make it relative.")


def test_no_package_index_is_named() -> None:
    failures = [f"{name}: {match[0]}" for name, text in _texts() for match in INDEXES.finditer(text)]
    assert not failures, failures_as_text(failures, "Where packages come from is the machine's business, not ours.")


def test_scripts_can_be_run() -> None:
    for name in (".ci/run",):
        assert os.access(ROOT / name, os.X_OK), f"chmod +x {name}"
