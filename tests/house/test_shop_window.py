"""`import daycache_ray` is cheap, and every public name leads to something that is documented."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest

import daycache_ray
from daycache_ray.words.errors import all_error_types
from tests.house.tree import ROOT, failures_as_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_neither_ray_nor_torch() -> None:
    loaded = _run(
        "import sys, daycache_ray\n"
        "daycache_ray.Version, daycache_ray.CacheRegion, daycache_ray.ConfigError, dir(daycache_ray)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ).split()

    heavy = {"ray", "torch", "numpy", "pyarrow", "lmdb", "pydantic", "sqlalchemy", "fastapi"} & set(loaded)
    assert not heavy, f"import daycache_ray loads {heavy}: import these where they are used"


def test_configuring_loads_neither_ray_nor_torch() -> None:
    loaded = _run("import sys, daycache_ray\ndaycache_ray.ClusterConfig()\nprint(*sys.modules)").split()

    assert not {"ray", "torch"} & set(loaded)


def test_the_list_the_homes_and_the_types_agree() -> None:
    typed = {}
    for node in ast.walk(ast.parse((ROOT / "daycache_ray" / "__init__.py").read_text("utf-8"))):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom)
                typed.update({alias.name: statement.module for alias in statement.names})

    advice = "a public name stands in __all__, in _HOMES and below TYPE_CHECKING of daycache_ray/__init__.py"
    assert typed == daycache_ray._HOME_OF, advice
    assert set(daycache_ray.__all__) == set(typed), advice
    assert len(daycache_ray.__all__) == len(set(daycache_ray.__all__)), advice


def test_every_error_is_in_the_window() -> None:
    missing = {cls.__name__ for cls in all_error_types()} - set(daycache_ray.__all__)
    assert not missing, f"add {missing} to daycache_ray/__init__.py"


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert daycache_ray.__version__ == project["version"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Cahce'"):
        _ = daycache_ray.Cahce
    assert set(dir(daycache_ray)) >= set(daycache_ray.__all__)


@pytest.mark.parametrize("name", daycache_ray.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(daycache_ray, name)

    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return
    assert vars(thing).get("__doc__") or not inspect.isclass(thing), f"give class {name} a docstring of its own"
    assert inspect.getdoc(thing), f"give {name} a docstring: a sentence, arguments with units, what it raises"
    if inspect.isclass(thing) and thing.__module__.startswith("daycache_ray"):
        bare = [
            method
            for method, value in vars(thing).items()
            if not method.startswith("_") and inspect.isroutine(value) and not inspect.getdoc(getattr(thing, method))
        ]
        assert not bare, failures_as_text([f"{name}.{method}" for method in bare], "Give each a docstring.")
