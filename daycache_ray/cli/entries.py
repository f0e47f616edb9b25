"""`daycache get`, `set`, `delete`, `scan`: one region's entries, for people and scripts."""

from __future__ import annotations

import enum
import json
import sys
from itertools import islice
from typing import Annotated, Any

import typer

from daycache_ray.cli.connection import DEFAULT_CLUSTER, DEFAULT_SERVICE, Address, Cluster, Service, connected
from daycache_ray.cli.say import FAILED, AsJson, mistakes_said, plain, result
from daycache_ray.words.errors import InvalidValueError

Region = Annotated[str, typer.Argument(help="The region's name, such as market_data.")]
Key = Annotated[str, typer.Argument(help="The key.")]


class ValueForm(str, enum.Enum):
    """What the VALUE of `set` is."""

    TEXT = "text"
    JSON = "json"
    BYTES = "bytes"


def get(
    region: Region,
    key: Key,
    address: Address = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    service: Service = DEFAULT_SERVICE,
    as_json: AsJson = False,
) -> None:
    """Print the value of a key; without an entry nothing, and exit code 1."""
    with mistakes_said(as_json), connected(address, cluster, service) as cache:
        entry = cache.region(region).get_entry(key)
        if entry is None:
            if as_json:
                result(True, {"found": False}, "")
            raise typer.Exit(FAILED)
        if as_json:
            result(
                True,
                {
                    "found": True,
                    "value": entry.value,
                    "version": entry.version._asdict(),
                    "expires_at_s": entry.expires_at_s,
                    "level": entry.level.value,
                    "served_by": entry.served_by,
                    "staleness_bound_s": entry.staleness_bound_s,
                },
                "",
            )
        elif isinstance(entry.value, (bytes, bytearray, memoryview)):
            sys.stdout.buffer.write(bytes(entry.value))
        else:
            typer.echo(entry.value if isinstance(entry.value, str) else json.dumps(plain(entry.value)))


def set_(
    region: Region,
    key: Key,
    value: Annotated[str, typer.Argument(help="The value; - reads it from standard input.")],
    form: Annotated[ValueForm, typer.Option("--as", help="What the value is.")] = ValueForm.TEXT,
    ttl_s: Annotated[float | None, typer.Option("--ttl-s", help="Seconds it lives; else as the region says.")] = None,
    address: Address = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    service: Service = DEFAULT_SERVICE,
    as_json: AsJson = False,
) -> None:
    """Store a value under a key and print its version."""
    with mistakes_said(as_json):
        parsed = _parsed(sys.stdin.buffer.read() if value == "-" else value.encode("utf-8", "surrogateescape"), form)
        with connected(address, cluster, service) as cache:
            options: dict[str, Any] = {} if ttl_s is None else {"ttl_s": ttl_s}
            version = cache.region(region).set(key, parsed, **options)
            result(as_json, {"version": version._asdict()}, f"epoch {version.epoch}, LSN {version.lsn}")


def delete(
    region: Region,
    key: Key,
    address: Address = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    service: Service = DEFAULT_SERVICE,
    as_json: AsJson = False,
) -> None:
    """Remove a key; exit code 1 when there was none."""
    with mistakes_said(as_json), connected(address, cluster, service) as cache:
        was_there = cache.region(region).delete(key)
        result(as_json, {"deleted": was_there}, "deleted" if was_there else "there was no such entry")
        if not was_there:
            raise typer.Exit(FAILED)


def scan(
    region: Region,
    prefix: Annotated[str, typer.Argument(help="What the keys begin with.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many keys.")] = 1000,
    address: Address = None,
    cluster: Cluster = DEFAULT_CLUSTER,
    service: Service = DEFAULT_SERVICE,
    as_json: AsJson = False,
) -> None:
    """Print the keys of a region, one a line."""
    with mistakes_said(as_json), connected(address, cluster, service) as cache:
        found = list(islice(cache.region(region).scan(prefix), limit + 1))
        keys, more = found[:limit], len(found) > limit
        result(as_json, {"keys": keys, "more": more}, "\n".join(_key_text(key) for key in keys))
        if more and not as_json:
            typer.echo(f"there are more than {limit}; write a longer prefix, or --limit", err=True)


def _key_text(key: str | bytes) -> str:
    return key if isinstance(key, str) else repr(key)


def _parsed(data: bytes, form: ValueForm) -> Any:
    try:
        if form is ValueForm.BYTES:
            return data
        text = data.decode("utf-8")
        return json.loads(text) if form is ValueForm.JSON else text
    except ValueError as error:
        raise InvalidValueError(f"the value is no {form.value}: {error}; --as says what it is") from None
