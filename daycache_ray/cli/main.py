"""The command `daycache`: gathers the commands of its neighbours and says what went wrong in a sentence."""

from __future__ import annotations

from typing import Annotated

import typer

from daycache_ray import __version__
from daycache_ray.cli import cluster, configuration, doctor, entries, verification

app = typer.Typer(
    help="A distributed cache for Python services on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(cluster.up)
app.command("down")(cluster.down)
app.command("status")(cluster.status)
app.command("get")(entries.get)
app.command("set")(entries.set_)
app.command("delete")(entries.delete)
app.command("scan")(entries.scan)
app.add_typer(configuration.app, name="config")
app.command("doctor")(doctor.doctor)
app.command("verify")(verification.verify)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A distributed cache for Python services on Ray."""


def main() -> None:
    """Run the command line; the console script `daycache`."""
    app()


if __name__ == "__main__":
    main()
