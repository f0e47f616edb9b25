"""Values out of files, wherever fsspec reaches: a local folder, S3, GCS, HTTP, an archive. One file per key.

It refuses to know the cache: it is a Loader and a BatchLoader like any user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from daycache_ray.origins.extras import extra_module
from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING

CONTENTS: Final[dict[str, Callable[[bytes], Any]]] = {
    "bytes": lambda content: content,
    "text": bytes.decode,
    "json": msgspec.json.decode,
}


class FileLoader:
    """Loads each key from a file of its own; hand it to a region as `loader`. Needs the extra `files`.

    Many keys are read at the same time where the file system can. A key may hold slashes, but none of its parts may
    be empty, "." or "..": such a key, one that names a folder, or one with a NUL is one that the origin lacks.

    Args:
        path: an fsspec URL or a path, with `{key}` in it: "s3://bucket/prices/{key}.json", "/data/{key}".
        content: what a value is: "bytes", "text" (UTF-8), "json", or a callable of the bytes.
        storage_options: arguments for the file system, such as {"anon": True}.

    Raises:
        ConfigError: an argument cannot be, or fsspec does not know the file system; says what to write.

    >>> FileLoader("s3://bucket/prices/{key}.json", content="json")
    <FileLoader s3://bucket/prices/{key}.json>
    """

    def __init__(
        self,
        path: str,
        *,
        content: str | Callable[[bytes], Any] = "bytes",
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if "{key}" not in path:
            raise ConfigError("FileLoader: path= must hold '{key}', such as 's3://bucket/{key}.json'")
        if not callable(content) and content not in CONTENTS:
            raise ConfigError(f"FileLoader: content= is one of {', '.join(CONTENTS)}, or a callable of the bytes")
        self._path = path
        self._content = content
        self._storage_options = dict(storage_options or {})
        self._opened: tuple[Any, str] | None = None

    def load(self, key: str) -> Any:
        """Return the key's value, or MISSING; raises LoadError with the file system's error as its cause."""
        return self.load_many([key]).get(key, MISSING)

    def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those keys that have a file; raises as load."""
        wanted = [key for key in keys if _names_a_file(key)]
        if not wanted:
            return {}
        system, template = self._file_system()
        paths = [template.replace("{key}", key) for key in wanted]
        read = CONTENTS[self._content] if isinstance(self._content, str) else self._content
        found = {}
        try:
            # Not `cat`: it would take a star in a key for a pattern.
            contents = system.cat_ranges(paths, None, None, on_error="return")
        except Exception as error:
            raise LoadError(f"{self!r} failed with {type(error).__name__}: {error}") from error
        for key, content in zip(wanted, contents, strict=True):
            if isinstance(content, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
                continue
            if isinstance(content, Exception):
                raise LoadError(f"{self!r} failed for {key!r} with {type(content).__name__}: {content}") from content
            try:
                found[key] = read(content)
            except Exception as error:
                raise LoadError(
                    f"{self!r} could not read what is under {key!r}: {type(error).__name__}: {error}; see content="
                ) from error
        return found

    def _file_system(self) -> tuple[Any, str]:
        if self._opened is None:
            fsspec = extra_module("fsspec", extra="files", loader="FileLoader")
            try:
                system, template = fsspec.url_to_fs(self._path, **self._storage_options)
            except (ValueError, ImportError) as error:
                raise ConfigError(f"FileLoader: path= cannot be opened: {error}") from error
            self._opened = system, template
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def __repr__(self) -> str:
        scheme, mark, rest = self._path.partition("://")
        host, slash, path = rest.partition("/")
        return f"<FileLoader {scheme}{mark}{host.rpartition('@')[2]}{slash}{path}>"


def _names_a_file(key: str) -> bool:
    return "\0" not in key and not {"", ".", ".."} & set(key.split("/"))
