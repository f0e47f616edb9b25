"""A miss is a task: a loader that runs as a Ray task with resources of its own, anywhere in the Ray cluster.

It refuses to know the cache: it is a Loader and a BatchLoader around another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daycache_ray.origins.loading import resolve_loader
from daycache_ray.origins.sealed import SealedLoader
from daycache_ray.words.errors import ConfigError, LoadError
from daycache_ray.words.ports import MISSING


class RayTaskLoader:
    """Runs `loader` as a Ray task for every load; hand it to a region as `loader`.

    A batch loader gets all missing keys in one task, any other one task per key, at the same time. The loader travels
    by pickle through Ray to the task; whoever waits for the value waits in the fill lease as ever, so each missing key
    is one task in the whole cluster. A value larger than 100 KB comes back through Ray's object store.

    Args:
        loader: a callable of one key, a Loader, a BatchLoader or 'package.module:name'.
        num_cpus: CPUs that one task needs, from 0.
        num_gpus: GPUs that one task needs, from 0.
        memory_bytes: memory that one task needs, from 0; Ray places by it and limits nothing.
        resources: custom resources that one task needs, such as {"market_data_feed": 1}.
        deadline_s: seconds after which a task is cancelled, queueing for its resources included, above 0; None: never.
        retries_max: how often Ray repeats a task whose worker died, from 0.

    Raises:
        ConfigError: an argument cannot be; the message says what to write.

    >>> RayTaskLoader("analysis.risk:value_at_risk", num_cpus=2, memory_bytes=2_000_000_000)
    <RayTaskLoader 'analysis.risk:value_at_risk' with 2 CPUs, 2000000000 B>
    """

    def __init__(
        self,
        loader: Any,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        memory_bytes: int = 0,
        resources: Mapping[str, float] | None = None,
        deadline_s: float | None = None,
        retries_max: int = 0,
    ) -> None:
        if min(num_cpus, num_gpus, memory_bytes, retries_max, *(resources or {}).values()) < 0:
            raise ConfigError(
                "RayTaskLoader: num_cpus=, num_gpus=, memory_bytes=, resources= and retries_max= are from 0"
            )
        if deadline_s is not None and not deadline_s > 0:
            raise ConfigError("RayTaskLoader: deadline_s= is above 0, or None")
        if not isinstance(loader, str):
            resolve_loader(loader)  # refuse here what would be refused in the task
        self._name = f"'{loader}'" if isinstance(loader, str) else repr(loader)
        self._loader = loader
        self._sealed: SealedLoader | None = None
        self._needs = {"num_cpus": num_cpus, "num_gpus": num_gpus, "memory": memory_bytes or None}
        self._resources = dict(resources or {})
        self._deadline_s = deadline_s
        self._retries_max = retries_max

    def load(self, key: str) -> Any:
        """Return the key's value, or MISSING; raises LoadError with the task's error as its cause."""
        (found,) = self._run([[key]])
        return found.get(key, MISSING)

    def load_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return what the origin has of `keys`; raises as load."""
        is_batched = isinstance(self._loader, str) or resolve_loader(self._loader).is_batched
        merged: dict[str, Any] = {}
        for found in self._run([list(keys)] if is_batched else [[key] for key in keys]):
            merged.update(found)
        return merged

    def _run(self, parts: list[list[str]]) -> list[dict[str, Any]]:
        import ray

        if not ray.is_initialized():
            raise LoadError(f"{self!r} runs in Ray only: call ray.init(), or start or connect a cache, in this process")
        if self._sealed is None:
            self._sealed = SealedLoader.seal(self._loader)
        remote: Any = ray.remote
        task = remote(**self._needs, resources=self._resources or None, max_retries=self._retries_max)(_load_in_task)
        references = [task.remote(self._sealed, part) for part in parts]
        try:
            answers: list[dict[str, Any]] = ray.get(references, timeout=self._deadline_s)
            return answers
        except ray.exceptions.GetTimeoutError as error:
            raise LoadError(f"{self!r} had no answer within {self._deadline_s:g} s; its tasks are cancelled") from error
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            raise LoadError(f"{self!r} failed in its task: {cause}") from cause
        except ray.exceptions.RayError as error:
            raise LoadError(f"{self!r} failed with {type(error).__name__}: {error}") from error
        finally:
            _, running = ray.wait(references, num_returns=len(references), timeout=0)
            for reference in running:
                ray.cancel(reference, force=True)

    def __getstate__(self) -> dict[str, Any]:
        # The loader may be defined where the other process cannot import it; its envelope can be opened there.
        sealed = self._sealed or SealedLoader.seal(self._loader)
        return {**self.__dict__, "_loader": sealed, "_sealed": sealed}

    def __repr__(self) -> str:
        needs = [f"{self._needs['num_cpus']:g} CPUs"]
        if self._needs["num_gpus"]:
            needs.append(f"{self._needs['num_gpus']:g} GPUs")
        if self._needs["memory"]:
            needs.append(f"{self._needs['memory']} B")
        needs += [f"{count:g} {name}" for name, count in self._resources.items()]
        return f"<RayTaskLoader {self._name} with {', '.join(needs)}>"


def _load_in_task(sealed: SealedLoader, keys: list[str]) -> dict[str, Any]:
    return resolve_loader(sealed).load_many(keys)
