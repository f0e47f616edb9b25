"""The writes that an origin did not take, as a region's users see them: listed, tried again, given up.

`DeadLetters` decides and sends nothing; the two classes below are the part of a region's faces that is about them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from daycache_ray.client.arguments import deadline_of, key_text
from daycache_ray.client.exchanges import Exchange, ask
from daycache_ray.client.records import seen_of
from daycache_ray.client.region_reads import RegionReads
from daycache_ray.client.session import ShardSession
from daycache_ray.storage.large_values import prefix_bytes
from daycache_ray.structures.store_keys import split_store_key
from daycache_ray.words.operations import AskLetters, LettersAction, LettersAnswer
from daycache_ray.words.ports import MISSING
from daycache_ray.words.records import HEADER, HEADER_BYTES
from daycache_ray.words.types import DeadLetter, Key, ShardId, Version


class DeadLetters:
    """The dead letters of one region, those of the session's service."""

    def __init__(self, reads: RegionReads) -> None:
        self._reads = reads
        self._session = reads.session

    def parts(self) -> list[ShardSession]:
        """Return the region's shards."""
        name = self._reads.config.name
        count = self._session.router.shard_count(name)
        return [self._session.part(ShardId(name, number)) for number in range(count)]

    def listed(self, part: ShardSession, deadline_s: Any) -> Exchange[dict[Any, DeadLetter]]:
        """Return a shard's letters by store key."""
        answer = yield from self._ask(part, LettersAction.LIST, [], deadline_s)
        return {letter[0]: self._letter(letter) for letter in answer.letters}

    def treat(
        self, part: ShardSession, action: LettersAction, keys: list[bytes], deadline_s: Any
    ) -> Exchange[dict[Any, int]]:
        """Try or drop letters of a shard; return how many there were, under the shard's number."""
        if not keys:
            return {}
        answer = yield from self._ask(part, action, keys, deadline_s)
        return {part.shard.number: answer.count}

    def by_part(self, keys: Iterable[Any]) -> dict[ShardSession, list[bytes]]:
        """Return store keys by shard."""
        found: dict[ShardSession, list[bytes]] = {}
        for key in keys:
            place = self._reads.place(key)
            found.setdefault(place.part, []).append(place.stored)
        return found

    def _ask(
        self, part: ShardSession, action: LettersAction, keys: list[bytes], deadline_s: Any
    ) -> Exchange[LettersAnswer]:
        region, number = part.shard
        service = self._reads.service

        def build(request_id: int) -> AskLetters:
            return AskLetters(request_id, region, number, service, int(action), keys)

        deadline_at_s = self._session.now_s() + deadline_of(deadline_s)
        answer: LettersAnswer = yield from ask(self._session, part.shard, build, deadline_at_s)
        return answer

    def _letter(self, letter: tuple[bytes, int, int, str, int, bytes]) -> DeadLetter:
        stored, epoch, lsn, error, attempts_count, record = letter
        flags, payload = HEADER.unpack_from(record)[6], record[HEADER_BYTES:]
        start = prefix_bytes(flags, payload)
        key = payload[2:start] if start else split_store_key(stored)[1]
        seen = seen_of(record, key, "primary", None)
        value = MISSING if seen is None or seen.is_negative else self._reads.decode(seen)
        return DeadLetter(key_text(key), value, Version(epoch, lsn), error, attempts_count)


class DeadLetterCalls:
    """The part of a `Region` that is about dead letters of write-behind."""

    _letters: DeadLetters
    _run_all: Callable[[Iterable[Exchange[dict[Any, Any]]]], dict[Any, Any]]

    def dead_letters(self, *, deadline_s: float | None = None) -> list[DeadLetter]:
        """Return the writes that the origin did not take, and why; they stay in the cache."""
        return list(self._run_all([self._letters.listed(part, deadline_s) for part in self._letters.parts()]).values())

    def retry_dead_letters(self, keys: Iterable[Key] | None = None, *, deadline_s: float | None = None) -> int:
        """Try dead letters again, all or those of `keys`; return how many there were."""
        return self._treat(LettersAction.RETRY, keys, deadline_s)

    def drop_dead_letters(self, keys: Iterable[Key], *, deadline_s: float | None = None) -> int:
        """Never write dead letters of `keys`: cache and origin differ from now on. Return how many there were."""
        return self._treat(LettersAction.DROP, keys, deadline_s)

    def _treat(self, action: LettersAction, keys: Iterable[Key] | None, deadline_s: float | None) -> int:
        wanted = [letter.key for letter in self.dead_letters(deadline_s=deadline_s)] if keys is None else keys
        by_part = self._letters.by_part(wanted)
        exchanges = [self._letters.treat(part, action, asked, deadline_s) for part, asked in by_part.items()]
        return sum(self._run_all(exchanges).values())


class AsyncDeadLetterCalls:
    """The part of an `AsyncRegion` that is about dead letters of write-behind."""

    _letters: DeadLetters
    _run_all: Callable[[Iterable[Exchange[dict[Any, Any]]]], Awaitable[dict[Any, Any]]]

    async def dead_letters(self, *, deadline_s: float | None = None) -> list[DeadLetter]:
        """See Region.dead_letters."""
        exchanges = [self._letters.listed(part, deadline_s) for part in self._letters.parts()]
        return list((await self._run_all(exchanges)).values())

    async def retry_dead_letters(self, keys: Iterable[Key] | None = None, *, deadline_s: float | None = None) -> int:
        """See Region.retry_dead_letters."""
        return await self._treat(LettersAction.RETRY, keys, deadline_s)

    async def drop_dead_letters(self, keys: Iterable[Key], *, deadline_s: float | None = None) -> int:
        """See Region.drop_dead_letters."""
        return await self._treat(LettersAction.DROP, keys, deadline_s)

    async def _treat(self, action: LettersAction, keys: Iterable[Key] | None, deadline_s: float | None) -> int:
        wanted = [letter.key for letter in await self.dead_letters(deadline_s=deadline_s)] if keys is None else keys
        by_part = self._letters.by_part(wanted)
        exchanges = [self._letters.treat(part, action, asked, deadline_s) for part, asked in by_part.items()]
        return sum((await self._run_all(exchanges)).values())
