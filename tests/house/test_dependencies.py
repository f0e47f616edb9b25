"""What the code imports is declared, what is declared is imported, and all of it is pinned for the tests."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from tests.house.tree import ROOT, house, sources

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DISTRIBUTION_OF = {"yaml": "PyYAML", "sqlalchemy": "SQLAlchemy", "pydantic_settings": "pydantic-settings",
                   "typing_extensions": "typing-extensions", "pytest_asyncio": "pytest-asyncio",
                   "ml_dtypes": "ml-dtypes"}  # fmt: skip
COMES_WITH = {"pydantic_core": "pydantic", "starlette": "fastapi", "click": "typer"}
"""Modules that another declared distribution brings and means to be imported."""

LOADED_BY = {"daycache_ray/testing/plugin.py": {"pytest"}}
"""A plugin's host is there when it loads the plugin, so nobody has to install it for the plugin."""

RUN_BY_NAME = {"build", "mypy", "psycopg", "pytest-asyncio", "ruff", "types-PyYAML"}
"""Development tools that nothing imports; SQLAlchemy takes psycopg by the URL of a database."""


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in requirements}


def _imported(*folders: str) -> dict[str, str]:
    """Distribution by distribution, the first place that imports it."""
    found: dict[str, str] = {}
    for source in sources(*folders):
        for one in source.imports():
            top = one.module.split(".")[0]
            if top in sys.stdlib_module_names or top in {"daycache_ray", "bench", "tests", "tomllib", "."}:
                continue
            if top in LOADED_BY.get(str(source), ()):
                continue
            top = COMES_WITH.get(top, top)
            found.setdefault(DISTRIBUTION_OF.get(top, top), f"{source}:{one.line}")
    return found


def test_what_users_install_declares_what_it_imports() -> None:
    imported = _imported("daycache_ray", "actors", "serve")
    undeclared = {name: place for name, place in imported.items() if name not in _names(_project()["dependencies"])}

    assert not undeclared, f"declare in pyproject.toml, [project] dependencies: {undeclared}"


def test_no_dependency_is_idle() -> None:
    idle = _names(_project()["dependencies"]) - set(_imported("daycache_ray", "actors", "serve"))

    assert not idle, f"nothing in the package imports {sorted(idle)}: remove from [project] dependencies"


def test_tests_and_benches_declare_what_they_import() -> None:
    project = _project()
    extras = project["optional-dependencies"]
    declared = _names([*project["dependencies"], *extras["dev"], *extras["bench"]])
    imported = _imported("tests", "bench")

    assert set(imported) <= declared, {name: place for name, place in imported.items() if name not in declared}
    idle = _names([*extras["dev"], *extras["bench"]]) - set(imported) - RUN_BY_NAME - set(_imported())
    assert not idle, f"no test and no bench imports {sorted(idle)}: remove from the extras"


def test_everything_declared_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.split(";")[0].strip() for line in lines if line and not line.startswith("#")]
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    project = _project()
    extras = project["optional-dependencies"]
    wanted = {re.sub(r"[-_.]+", "-", name).lower()
              for name in _names([*project["dependencies"], *extras["dev"], *extras["bench"]])}  # fmt: skip

    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), "a pin is name==release, without a local part"
    assert wanted - pinned - {"tomli"} == set(), "run the suites with it, then pin what they ran with"


@pytest.mark.parametrize("name", ["ray", "torch", "lmdb", "redis"])
def test_heavy_and_rival_imports_are_inside_functions_of_the_window(name: str) -> None:
    window = next(source for source in house() if source.module == "daycache_ray")
    assert all(one.module.split(".")[0] != name for one in window.imports())
