"""Libraries that only some loaders need: imported when one is used, missed with the name of what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from daycache_ray.words.errors import ConfigError


def extra_module(name: str, *, extra: str, loader: str) -> Any:
    """Return a module that an extra of this distribution brings.

    Args:
        name: its dotted name.
        extra: the extra in `pip install daycache-ray[extra]`.
        loader: who needs it.

    Raises:
        ConfigError: it is not installed where the loader runs; the message says what to install.

    >>> extra_module("no_such_module", extra="http", loader="HttpLoader")
    Traceback (most recent call last):
    daycache_ray.words.errors.ConfigError: HttpLoader needs no_such_module: pip install 'daycache-ray[http]' ...
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != name.split(".")[0]:
            raise
        raise ConfigError(
            f"{loader} needs {name.split('.')[0]}: pip install 'daycache-ray[{extra}]' in every process that loads"
        ) from error
