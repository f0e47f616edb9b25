"""Imports point down. A decision on floors 0 to 2 needs no clock, no wire, no disk: they arrive as arguments."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter

from tests.house.tree import FLOORS, Imported, Source, failures_as_text, house, sources

FORBIDDEN_BELOW = {
    "ray", "asyncio", "time", "random", "threading", "os", "socket", "logging", "lmdb", "torch",
    "selectors", "subprocess", "multiprocessing", "concurrent", "tempfile", "shutil", "signal", "mmap", "fcntl",
    "hiredis", "uvloop", "structlog", "secrets", "uuid",
}  # fmt: skip
"""What a decision must not reach for itself."""

LOWEST_ADAPTER_FLOOR = 3

COMPOSITION_ROOT = "daycache_ray.actors.launch"
"""Starts everything, the doors of floor 5 among it, so it alone may look up at them."""


def _package_of(one: Imported) -> str | None:
    """The house's package that an import reaches; '' is the shop window, None somebody else's module."""
    parts = one.module.split(".")
    if parts[0] != "daycache_ray":
        return None
    if len(parts) > 1:
        return parts[1]
    return one.name if one.name in FLOORS else ""


def test_every_package_stands_on_a_floor() -> None:
    strays = sorted({source.package for source in house()} - set(FLOORS) - {""})
    assert not strays, f"give {strays} a floor in tests/house/tree.py, or put its files into a package that has one"


def test_imports_point_down() -> None:
    failures = []
    for source in house():
        if source.package not in FLOORS:
            continue
        floor = max(FLOORS.values()) if source.module == COMPOSITION_ROOT else FLOORS[source.package]
        for one in source.imports():
            package = _package_of(one)
            if package == "" and one.name != "__version__" and floor < max(FLOORS.values()):
                failures.append(f"{source}:{one.line} imports the shop window")
            elif package and FLOORS.get(package, 99) > floor:
                failures.append(f"{source}:{one.line} (floor {floor}) imports {one.module} (floor {FLOORS[package]})")
    assert not failures, failures_as_text(
        failures, "An import points up: hand the thing in as an argument (a port), or move what both need down."
    )


def test_floors_0_to_2_only_decide() -> None:
    failures = []
    for source in house():
        if FLOORS.get(source.package, 99) >= LOWEST_ADAPTER_FLOOR:
            continue
        failures += [
            f"{source}:{one.line} imports {one.module}"
            for one in source.imports()
            if one.module.split(".")[0] in FORBIDDEN_BELOW and not one.for_types_only
        ]
    assert not failures, failures_as_text(
        failures, "Take it as an argument: now: Instant, a seeded random.Random, a port of words/ports.py."
    )


def _unit(module: str) -> str:
    """What counts as one thing below a package: a file, or a folder of files."""
    return ".".join(module.split(".")[:3])


def _siblings(source: Source, units: set[str]) -> set[str]:
    """The units beside a file's own that it imports."""
    reached = {_unit(f"{one.module}.{one.name}") for one in source.imports()}
    return (reached & units) - {_unit(source.module)}


def test_siblings_on_floors_1_and_2_do_not_know_each_other() -> None:
    failures = []
    for package in (name for name, floor in FLOORS.items() if floor in (1, 2)):
        files = [source for source in house() if source.package == package and source.module.count(".") > 1]
        units = {_unit(source.module) for source in files}
        imports: dict[str, set[str]] = {unit: set() for unit in units}
        for source in files:
            imports[_unit(source.module)] |= _siblings(source, units)
        composed = {unit for found in imports.values() for unit in found}
        failures += [
            f"{unit} imports {', '.join(sorted(found))} and is itself imported by a sibling"
            for unit, found in sorted(imports.items())
            if found and unit in composed
        ]
    assert not failures, failures_as_text(
        failures,
        "A file here either composes its siblings or is composed, never both: move what both need to the floor "
        "below, or let the composing file hand one the other.",
    )


def test_packages_have_no_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for source in house():
        if source.package in FLOORS:
            if source.module == COMPOSITION_ROOT:
                continue
            reached = {_package_of(one) for one in source.imports() if not one.for_types_only}
            graph.setdefault(source.package, set()).update(p for p in reached if p and p != source.package)
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(
            f"packages import each other in a circle: {' -> '.join(error.args[1])}; move what both need down"
        ) from None


def test_a_client_imports_no_actor() -> None:
    failures = [
        f"{source}:{one.line} imports {one.module}"
        for source in house()
        if source.package == "client"
        for one in source.imports()
        if _package_of(one) == "actors"
    ]
    assert not failures, failures_as_text(failures, "A client finds actors by name (words/naming.py).")


def test_linked_folders_have_one_name() -> None:
    failures = [
        f"{source}:{one.line} imports {one.module}"
        for source in sources()
        for one in source.imports()
        if one.module.split(".")[0] in {"actors", "serve"}
    ]
    assert not failures, failures_as_text(
        failures, "Write daycache_ray.actors or daycache_ray.serve: the bare name is a second identity of the file."
    )


def test_nothing_imports_tests_or_benches() -> None:
    failures = [
        f"{source}:{one.line} imports {one.module}"
        for source in house()
        for one in source.imports()
        if one.module.split(".")[0] in {"tests", "bench"}
    ]
    assert not failures, failures_as_text(failures, "What users install needs neither: move the thing into the house.")


def test_imports_are_absolute() -> None:
    failures = [f"{source}:{one.line}" for source in sources() for one in source.imports() if one.module == "."]
    assert not failures, failures_as_text(failures, "Write the whole name: from daycache_ray.words.types import …")


def test_forbidden_names_are_modules() -> None:
    # A misspelt name above would forbid nothing.
    third_party = {"ray", "lmdb", "torch", "hiredis", "uvloop", "structlog"}
    assert FORBIDDEN_BELOW - third_party <= sys.stdlib_module_names
