"""A client's half of the fill leases: to ask for the right to load a key, to use it, to give it back.

Decides; sends nothing. It refuses to know loaders.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from daycache_ray.client.arguments import DEADLINE_S, key_text
from daycache_ray.client.exchanges import Exchange, Tell, ask, converse
from daycache_ray.client.region_reads import Place, RegionReads
from daycache_ray.words.cluster_map import MemberAddress
from daycache_ray.words.errors import CacheError
from daycache_ray.words.operations import FillAnswer, FillAsk, FillFail, FillStore, Operation

NOT_THERE: Final = "\0the origin has no such key"
"""What a holder says instead of an error when its origin lacks the key: those who wait get their default."""

LOADER_MESSAGE_MAX: Final = 2_000
"""Characters of a loader's error that waiters are told."""


class Held(NamedTuple):
    """A key whose fill lease is ours."""

    key: Any
    place: Place
    number: int
    member: MemberAddress
    tags: tuple[str, ...] = ()
    """Of what is stored for it."""

    @property
    def text(self) -> str:
        """The key as a loader sees it."""
        return str(key_text(self.place.key))


class FillCalls:
    """The fill leases of one region for one session."""

    def __init__(self, reads: RegionReads) -> None:
        self._reads = reads
        self._session = reads.session
        self._config = reads.config

    def take(
        self, asked: list[tuple[Any, Place]], deadline_at_s: float, *, refresh: bool = False
    ) -> Exchange[tuple[list[Held], list[tuple[Any, Place]]]]:
        """Return the keys whose fill leases were free and are ours now, and the others."""
        held: list[Held] = []
        others: list[tuple[Any, Place]] = []
        try:
            for key, place in asked:
                answer, member = yield from self.ask(place, deadline_at_s, wait=False, refresh=refresh)
                if answer.number > 0:
                    held.append(Held(key, place, answer.number, member))
                else:
                    others.append((key, place))
        except BaseException:
            yield from self.give_back(held, "the caller gave up before it loaded")
            raise
        return held, others

    def store(self, place: Place, number: int, operation: Operation, deadline_at_s: float) -> Exchange[None]:
        """Store what was loaded under the lease `number`; where that fails its caller has the value all the same."""
        sequences = place.part.sequences
        sequence = sequences.take(1)
        region, shard = place.part.shard

        def build(request_id: int) -> FillStore:
            return FillStore(request_id, region, shard, number, operation, self._session.client, sequence)

        try:
            answer = yield from ask(
                self._session, place.part.shard, build, deadline_at_s, writes=True, size_bytes=len(operation.value)
            )
            for result in answer.results:
                if result.lsn:
                    place.part.token.observe(result.epoch, result.lsn)
        except CacheError:
            pass  # the next one loads again
        finally:
            sequences.done(sequence)

    def ask(
        self, place: Place, deadline_at_s: float, *, wait: bool, refresh: bool = False, write: bool = False
    ) -> Exchange[tuple[FillAnswer, MemberAddress]]:
        """Ask for the right to load a key; `refresh`: also where there is an entry. See operations.FillAsk."""
        session = self._session
        region, shard = place.part.shard
        right_s = self._config.write_deadline_s + DEADLINE_S if write else self._config.load_deadline_s
        load_ms = max(1, int(right_s * 1000))

        def build(request_id: int) -> FillAsk:
            return FillAsk(request_id, region, shard, place.stored, load_ms, wait, refresh, write)

        answer: tuple[FillAnswer, MemberAddress] = yield from converse(
            session, place.part.shard, build, deadline_at_s, patient=wait, undo=_give_back(region, shard)
        )
        return answer

    def give_back(self, held: list[Held], message: str) -> Exchange[None]:
        """Give leases back; who waits for them hears `message`."""
        for each in held:
            yield self.failure(each, message)

    def failure(self, held: Held, message: str) -> Tell:
        """Return what tells the primary that a load failed, and why; its waiters hear it."""
        region, shard = held.place.part.shard
        return Tell(held.member, lambda request_id: FillFail(request_id, region, shard, held.number, message))


def _give_back(region: str, shard: int) -> Any:
    """Return what makes of a late grant the message that gives it back."""

    def undo(answer: Any) -> Any:
        if type(answer) is not FillAnswer or answer.number <= 0:
            return None
        number = answer.number
        return lambda request_id: FillFail(
            request_id, region, shard, number, "the caller gave up before it was its turn"
        )

    return undo
