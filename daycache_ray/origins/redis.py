"""Values out of Redis, Valkey or a Redis Cluster, through redis-py: GET for one key, MGET for many.

It refuses to know the cache: it is a Loader and a BatchLoader like any user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from daycache_ray.origins.extras import extra_module
from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING

SCHEMES: Final = ("redis", "rediss", "unix")
KEYS_PER_QUERY: Final = 1_000
"""Keys in one MGET: a server answers nobody else meanwhile."""


class RedisLoader:
    """Loads strings from Redis; hand it to a region as `loader`. Needs the extra `redis`.

    The client is made in each process on the first load; redis-py's pool knows threads and forks.

    Args:
        url: "redis://host:6379/0", "rediss://…" or "unix:///path"; of any node with `cluster`.
        cluster: whether it is a Redis Cluster; MGET is then sent to each node that has some of the keys.
        key: the name in Redis, with `{key}` in it, such as "price:{key}".
        value: what a value is: "bytes", "str" (UTF-8), or a callable of the bytes.
        deadline_s: seconds that connecting or one answer may take, above 0.
        client_options: further arguments for redis.Redis or redis.cluster.RedisCluster.

    Raises:
        ConfigError: an argument cannot be; the message says what to write.

    >>> RedisLoader("redis://app:s3cret@prices:6379/0", key="price:{key}")
    <RedisLoader price:{key} at prices:6379>
    """

    def __init__(
        self,
        url: str,
        *,
        cluster: bool = False,
        key: str = "{key}",
        value: str | Callable[[bytes], Any] = "bytes",
        deadline_s: float = 5.0,
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        if urlsplit(url).scheme not in SCHEMES:
            raise ConfigError("RedisLoader: url= begins with redis://, rediss:// or unix://")
        if "{key}" not in key:
            raise ConfigError("RedisLoader: key= must hold '{key}', such as 'price:{key}'")
        if not callable(value) and value not in ("bytes", "str"):
            raise ConfigError("RedisLoader: value= is 'bytes', 'str', or a callable of the bytes")
        if not deadline_s > 0:
            raise ConfigError("RedisLoader: deadline_s= is above 0")
        self._url, self._cluster, self._key = url, cluster, key
        self._value: Callable[[bytes], Any] = (
            value if callable(value) else bytes.decode if value == "str" else _as_it_is
        )
        self._deadline_s = deadline_s
        self._client_options = dict(client_options or {})
        self._client: Any = None

    def load(self, key: str) -> Any:
        """Return the key's value, or MISSING; raises LoadError with redis-py's error as its cause."""
        try:
            found = self._redis().get(self._key.replace("{key}", key))
            return MISSING if found is None else self._value(found)
        except ConfigError:
            raise
        except Exception as error:
            raise self._failure(error) from error

    def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those keys that are there; raises as load."""
        found: dict[str, Any] = {}
        try:
            client = self._redis()
            for start in range(0, len(keys), KEYS_PER_QUERY):
                part = keys[start : start + KEYS_PER_QUERY]
                names = [self._key.replace("{key}", key) for key in part]
                answers = client.mget_nonatomic(names) if self._cluster else client.mget(names)
                found.update((key, answer) for key, answer in zip(part, answers, strict=True) if answer is not None)
            return {key: self._value(answer) for key, answer in found.items()}
        except ConfigError:
            raise
        except Exception as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Give this process's connections back; a later load opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            if self._cluster:
                client.disconnect_connection_pools()
            client.close()

    def _redis(self) -> Any:
        if self._client is None:
            redis = extra_module("redis", extra="redis", loader="RedisLoader")
            extra_module("redis.cluster", extra="redis", loader="RedisLoader")
            kind = redis.cluster.RedisCluster if self._cluster else redis.Redis
            options = {"socket_timeout": self._deadline_s, "socket_connect_timeout": self._deadline_s}
            if not self._cluster:
                # Once, for a pooled connection whose server restarted. redis-py would try for seconds; when to try
                # again is the cache's to decide.
                options["retry"] = redis.retry.Retry(redis.backoff.NoBackoff(), 1)
            self._client = kind.from_url(self._url, **{**options, **self._client_options})
        return self._client

    def _failure(self, error: Exception) -> LoadError:
        text = f"{type(error).__name__}: {error}"
        password = urlsplit(self._url).password
        return LoadError(f"{self!r} failed with {text.replace(password, '***') if password else text}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

    def __repr__(self) -> str:
        parts = urlsplit(self._url)
        place = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
        return f"<RedisLoader {self._key} at {place}{', a cluster' if self._cluster else ''}>"


def _as_it_is(value: bytes) -> bytes:
    return value
