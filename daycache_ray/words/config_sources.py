"""Where a configuration comes from besides Python: a YAML or TOML file, and `DAYCACHE_*` variables.

Also the sentences for what is wrong with one. Knows that a configuration is a pydantic model, not
which fields it has; pydantic-settings reads the environment.
"""

from __future__ import annotations

import difflib
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from daycache_ray.words.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "DAYCACHE_"
SHOWN_CHARACTERS_MAX = 80
"""Of a refused value: enough to recognise it, not a page of it."""


def merged_sources(
    model: type[BaseModel], path: str | Path | None, environment: Mapping[str, str] | None
) -> dict[str, Any]:
    """Return the fields that a file and the environment give, the environment over the file.

    Raises:
        ConfigError: the file or a variable cannot be read; says which and what to write.
    """
    return _merge({} if path is None else _read(Path(path)), _from_environment(model, environment))


def explain(model: type[BaseModel], error: ValidationError) -> str:
    """Return one line per problem: the field's path, what is wrong, what to write instead."""
    lines: list[str] = []
    for detail in error.errors():
        inner = detail.get("ctx", {}).get("error")
        if isinstance(inner, ConfigError):
            # A part that was built on the way has explained itself, with paths from where it stands.
            lines += (_moved(line, detail["loc"]) for line in inner.message.splitlines())
        else:
            lines.append(_sentence(model, detail["loc"], detail["type"], detail["msg"], detail["input"]))
    return "\n".join(lines)


def _moved(line: str, location: tuple[int | str, ...]) -> str:
    return f"{_path(location)}.{line}"


def _sentence(model: type[BaseModel], location: tuple[int | str, ...], kind: str, text: str, given: Any) -> str:
    part = _part(model, location) or model
    if kind == "value_error":
        # Our own validators: a text that begins with a field of the part names the culprit in it.
        text = text.removeprefix("Value error, ")
        match = re.match(r"(\w+): ", text)
        if match and match[1] in part.model_fields:
            location, text = (*location, match[1]), text[match.end() :]
    elif kind == "extra_forbidden":
        text = f"there is no such field; {_suggest(model, str(location[-1]))}"
    elif kind == "missing":
        text = "is required; write a value for it"
    elif kind == "string_pattern_mismatch":
        text = (
            f"{_shown(given)} cannot be; write lower-case letters, digits, '_', '.' or '-', "
            "beginning and ending with a letter or digit"
        )
    elif kind == "tuple_type":
        text = f"must be a list (got {_shown(given)})"
    elif kind in {"model_type", "model_attributes_type"}:
        text = f"must be a mapping with fields among {', '.join(part.model_fields)} (got {_shown(given)})"
    else:
        text = f"{text.replace('Input should be', 'must be')} (got {_shown(given)})"
    return f"{_path(location) or model.__name__}: {text}"


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def _part(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model that stands at `location` of a `model`; None where a plain value stands."""
    owner: type[BaseModel] | None = model
    for step in location:
        if isinstance(step, int):
            continue
        field = owner.model_fields.get(step) if owner is not None else None
        annotation = field.annotation if field is not None else None
        candidates = (annotation, *typing.get_args(annotation))
        owner = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return owner


def _suggest(owner: type[BaseModel], name: str) -> str:
    known = list(owner.model_fields)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}"


def _from_environment(model: type[BaseModel], environment: Mapping[str, str] | None) -> dict[str, Any]:
    source = EnvSettingsSource(model, env_prefix=PREFIX, env_nested_delimiter="__")  # type: ignore[arg-type]
    if environment is not None:
        source.env_vars = {name.lower(): value for name, value in environment.items()}
    try:
        return {name: value for name, value in source().items() if value is not None}
    except SettingsError as error:
        match = re.search(r'field "(\w+)"', str(error))
        variable = f"{PREFIX}{match[1].upper()}" if match else f"a {PREFIX}* variable"
        example = '[{"name": "orders"}]'
        raise ConfigError(f"{variable}: is not JSON; write lists and mappings such as '{example}'") from None


def _read(path: Path) -> dict[str, Any]:
    if path.suffix not in {".yaml", ".yml", ".toml"}:
        raise ConfigError(f"{path}: a configuration is a .yaml, .yml or .toml file")
    try:
        text = path.read_text("utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise ConfigError(f"{path}: the file must hold a mapping such as 'name: shop', not a {type(data).__name__}")
    return data


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        inner = merged.get(name)
        merged[name] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged
