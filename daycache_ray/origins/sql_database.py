"""A relational database as loaders and writers share it: its URL, and an engine made in each process that uses it.

Refuses to know what is read or written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from daycache_ray.words.errors import ConfigError


class SqlDatabase:
    """What SqlLoader and SqlWriter are built on: it may be pickled and may cross a fork, its connections do neither."""

    def __init__(self, url: str | sa.URL, who: str, engine_options: Mapping[str, Any] | None) -> None:
        """Take a URL in the name of `who`; raises ConfigError where it is none of a plain driver."""
        self._url = url_of(url, who)
        self._engine_options = dict(engine_options or {})
        self._engines: dict[int, sa.Engine] = {}

    def close(self) -> None:
        """Give this process's connections back; a later call opens new ones."""
        engine = self._engines.pop(os.getpid(), None)
        if engine is not None:
            engine.dispose()

    def _engine(self) -> sa.Engine:
        engine = self._engines.get(os.getpid())
        if engine is None:
            for inherited in self._engines.values():
                inherited.dispose(close=False)  # Its sockets are the parent's.
            # Two threads may both make one; making it connects to nothing, and setdefault lets one win.
            options = {"pool_pre_ping": True, **self._engine_options}
            engine = self._engines.setdefault(os.getpid(), sa.create_engine(self._url, **options))
        return engine

    def _text(self, error: Exception) -> str:
        """Return what an error says, without the password that a driver may have put into it."""
        text = f"{type(error).__name__}: {error}"
        return text.replace(str(self._url.password), "***") if self._url.password else text

    def _shown_url(self) -> str:
        # A driver may take a password in the URL's query, too; it is left out.
        return self._url.set(query={}).render_as_string(hide_password=True)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engines": {}}


def url_of(url: str | sa.URL, who: str) -> sa.URL:
    """Return a URL of a plain driver; raises ConfigError in the name of `who`."""
    try:
        made = sa.make_url(url)
        is_async = made.get_dialect().is_async
    except (ArgumentError, sa.exc.NoSuchModuleError, ValueError, TypeError) as error:
        reason = str(error) if isinstance(error, sa.exc.NoSuchModuleError) else "it cannot be understood"
        # The text itself may hold a password, so it is not repeated.
        raise ConfigError(
            f"{who}: url= is no SQLAlchemy URL: {reason}; write 'dialect+driver://user:password@host/database'"
        ) from None
    if is_async:
        raise ConfigError(
            f"{who}: '{made.drivername}' is an async driver; name a plain one, the cache calls it in threads"
        )
    return made
