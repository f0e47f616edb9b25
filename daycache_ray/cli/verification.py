"""`daycache verify`: walks stores and says whether they are whole. Reads only; a store in use may be walked too."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from daycache_ray.cli.say import FAILED, AsJson, in_bytes, mistakes_said, result
from daycache_ray.storage.directory import LOCK_NAME
from daycache_ray.storage.verify import Damage, Report
from daycache_ray.words.config import ClusterConfig


class Outcome(NamedTuple):
    """What became of one store's walk: a report, or why there is none."""

    directory: str
    report: Report | None
    error: str


def verify(
    path: Annotated[
        Path | None,
        typer.Argument(help="A store, or a directory above some; by default all stores of this machine."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Walk stores and say what is damaged; exit code 1 when something is, or cannot be read."""
    with mistakes_said(as_json):
        above = path if path is not None else Path(ClusterConfig.load(None).memory_path) / "daycache"
        found = list(_stores(above))
        if path is not None and not found:
            raise FileNotFoundError(f"{above} holds no store: give the path of a replica's directory or one above")
        with _progress(as_json) as show:
            outcomes = [walk(directory, partial(show, directory)) for directory in found]
        whole = all(outcome.report is not None and outcome.report.is_whole for outcome in outcomes)
        text = "\n".join(_said(outcome) for outcome in outcomes) or f"no stores below {above}"
        result(as_json, {"whole": whole, "stores": [_fields(outcome) for outcome in outcomes]}, text)
        if not whole:
            raise typer.Exit(FAILED)


def walk(directory: str, progress: Callable[[int, int], None]) -> Outcome:
    """Walk one store in a process of its own: touching a torn file may end it."""
    command = [sys.executable, "-m", "daycache_ray.storage.verify", directory]
    said: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            said = msgspec.json.decode(line)
            if "done" in said:
                progress(said["done"], said["of"])
        complaint = child.stderr.read().decode(errors="replace").strip()
    if "report" in said:
        report = msgspec.convert(said["report"], Report)
        return Outcome(directory, report, "")
    if "error" in said:
        return Outcome(directory, None, f"{said['error']}: {said['message']}")
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        report = Report(directory, damages_count=1, damages=[Damage("data.mdb", f"walking it ends with {name}")])
        return Outcome(directory, report, "")
    return Outcome(directory, None, complaint.splitlines()[-1] if complaint else f"exit status {child.returncode}")


def _stores(above: Path) -> Iterator[str]:
    for folder, _, files in os.walk(above):
        if LOCK_NAME in files:
            yield folder


@contextlib.contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[str, int, int], None]]:
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield lambda directory, done, of: None
        return
    with Progress(console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(directory: str, done: int, of: int) -> None:
            if directory not in tasks:
                tasks[directory] = bar.add_task(directory, total=of)
            bar.update(tasks[directory], completed=done, total=of)

        yield show


def _said(outcome: Outcome) -> str:
    report = outcome.report
    if report is None:
        return f"FAIL  {outcome.directory}: {outcome.error}"
    if report.is_whole:
        files = f"{report.large_files_count} files of {in_bytes(report.large_bytes)}"
        counts = f"{report.entries_count} entries, {report.log_records_count} records in the log, {files}"
        return f"ok    {outcome.directory}: whole; {counts}"
    lines = [f"FAIL  {outcome.directory}: {report.damages_count} damages"]
    lines += [f"      {damage.where}: {damage.said}" for damage in report.damages]
    if report.damages_count > len(report.damages):
        lines.append(f"      and {report.damages_count - len(report.damages)} more")
    lines.append("      A replica that restarts on this node wipes what it cannot open and takes a copy of another.")
    return "\n".join(lines)


def _fields(outcome: Outcome) -> dict[str, Any]:
    if outcome.report is None:
        return {"directory": outcome.directory, "whole": False, "error": outcome.error}
    fields: dict[str, Any] = msgspec.to_builtins(outcome.report)
    return {"whole": outcome.report.is_whole, **fields}
