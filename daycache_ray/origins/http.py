"""Values out of a web service, through httpx: one request per key, or one for many where the service can.

It refuses to know the cache: it is an async Loader and BatchLoader like any user's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote
from weakref import WeakKeyDictionary

from daycache_ray.origins.extras import extra_module
from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING

ABSENT_STATUSES: Final = frozenset({404, 410})
"""What a service says when it has no such thing; every other status from 400 is a failure."""

BODIES: Final[dict[str, Callable[[Any], Any]]] = {
    "json": lambda response: response.json(),
    "text": lambda response: response.text,
    "bytes": lambda response: response.content,
}


class HttpLoader:
    """Loads values with GET; hand it to a region as `loader`. Needs the extra `http`.

    Status 404 and 410 mean that the origin lacks the key; any other from 400 is a LoadError. Connections are kept
    per event loop, so the loader may be pickled and may cross a fork.

    Args:
        url: where a value is, with `{key}` in it; the key is percent-encoded, slashes included.
        batch_url: where many values are, with `{keys}` in it, which become percent-encoded keys with commas between;
            the answer is a JSON object of those that there are. Without it, `load_many` asks once per key,
            `concurrency_max` at a time.
        headers: sent with every request.
        body: what a value is: "json", "text", "bytes", or a callable of the httpx.Response.
        deadline_s: seconds that one request may take from connecting to the last byte, above 0.
        concurrency_max: requests of one process that run at the same time, from 1.
        client_options: further arguments for httpx.AsyncClient, such as {"verify": context} or {"auth": …}.

    Raises:
        ConfigError: an argument cannot be; the message says what to write.

    >>> HttpLoader("https://prices.example/v1/{key}?token=s3cret")
    <HttpLoader https://prices.example/v1/{key}>
    """

    def __init__(
        self,
        url: str,
        *,
        batch_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: str | Callable[[Any], Any] = "json",
        deadline_s: float = 10.0,
        concurrency_max: int = 16,
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")) or "{key}" not in url:
            raise ConfigError("HttpLoader: url= must be http or https with '{key}' in it, such as 'https://host/{key}'")
        if batch_url is not None and "{keys}" not in batch_url:
            raise ConfigError("HttpLoader: batch_url= must hold '{keys}', such as 'https://host/prices?of={keys}'")
        if not callable(body) and body not in BODIES:
            raise ConfigError(f"HttpLoader: body= is one of {', '.join(BODIES)}, or a callable of the response")
        if not deadline_s > 0 or concurrency_max < 1:
            raise ConfigError("HttpLoader: deadline_s= is above 0, concurrency_max= from 1")
        self._url, self._batch_url = url, batch_url
        self._headers = dict(headers or {})
        self._body = body
        self._deadline_s = deadline_s
        self._concurrency_max = concurrency_max
        self._client_options = dict(client_options or {})
        self._clients: WeakKeyDictionary[Any, tuple[Any, asyncio.Semaphore]] = WeakKeyDictionary()

    async def load(self, key: str) -> Any:
        """Return the key's value, or MISSING; raises LoadError with httpx's error as its cause."""
        response = await self._get(self._url.replace("{key}", quote(key, safe="")))
        if response is None:
            return MISSING
        return self._read(response, self._body if callable(self._body) else BODIES[self._body])

    async def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those keys that the service has; raises as load."""
        if self._batch_url is None:
            answers = await asyncio.gather(*map(self.load, keys))
            return {key: value for key, value in zip(keys, answers, strict=True) if value is not MISSING}
        if not keys:
            return {}
        response = await self._get(self._batch_url.replace("{keys}", ",".join(quote(key, safe="") for key in keys)))
        if response is None:
            return {}
        answer = self._read(response, BODIES["json"])
        if not isinstance(answer, dict):
            raise LoadError(
                f"{self!r} sent a JSON {type(answer).__name__} for {len(keys)} keys; batch_url= must answer with an "
                "object of keys and values"
            )
        return answer

    def close(self) -> None:
        """Hang up, on the calling loop as soon as it comes to it; a later load connects again."""
        here = asyncio._get_running_loop()
        for loop, (client, _) in list(self._clients.items()):
            del self._clients[loop]
            if loop.is_running():
                done = asyncio.run_coroutine_threadsafe(client.aclose(), loop)
                if loop is not here:
                    done.result(self._deadline_s)

    async def _get(self, url: str) -> Any:
        """Return the response, None where the service lacks the thing."""
        httpx = extra_module("httpx", extra="http", loader="HttpLoader")
        client, slots = self._client(httpx)
        try:
            async with slots:
                # httpx knows deadlines for each step of a request only, and a body may come in drops.
                response = await asyncio.wait_for(client.get(url), self._deadline_s)
        except asyncio.TimeoutError as error:
            raise LoadError(f"{self!r} had no whole answer within {self._deadline_s:g} s") from error
        except httpx.HTTPError as error:
            raise LoadError(f"{self!r} failed with {type(error).__name__}: {error}") from error
        if response.status_code in ABSENT_STATUSES:
            return None
        if response.status_code >= 400:
            raise LoadError(f"{self!r} answered with status {response.status_code} {response.reason_phrase}")
        return response

    def _read(self, response: Any, body: Callable[[Any], Any]) -> Any:
        try:
            return body(response)
        except Exception as error:
            kind = response.headers.get("content-type", "no content type")
            raise LoadError(
                f"{self!r} sent what could not be read ({kind}): {type(error).__name__}: {error}; see body="
            ) from error

    def _client(self, httpx: Any) -> tuple[Any, asyncio.Semaphore]:
        loop = asyncio.get_running_loop()
        found = self._clients.get(loop)
        if found is None:
            options = {"follow_redirects": True, "timeout": self._deadline_s, **self._client_options}
            client = httpx.AsyncClient(headers=self._headers, **options)
            found = self._clients[loop] = (client, asyncio.Semaphore(self._concurrency_max))
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_clients": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clients = WeakKeyDictionary()

    def __repr__(self) -> str:
        # A query may hold a token, and the part before the host a password.
        scheme, _, rest = self._url.partition("?")[0].partition("://")
        host, slash, path = rest.partition("/")
        return f"<HttpLoader {scheme}://{host.rpartition('@')[2]}{slash}{path}>"
