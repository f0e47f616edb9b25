"""From batches of accesses to hints and to keys worth loading: the prefetcher without sockets and Ray.

Composes one `RegionLearner` per region and one `StreamLearner` per region and service. It refuses to
load anything and to read a clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from daycache_ray.actors.network_link import NetworkLink, Question
from daycache_ray.actors.region_learning import LearningSettings, RegionLearner, RegionPrediction
from daycache_ray.actors.stream_learning import StreamLearner
from daycache_ray.protocol.prefetch import Candidate, Receipt
from daycache_ray.storage.hint_table import HintWriter, hint_hash, hint_seed
from daycache_ray.words.config import ClusterConfig
from daycache_ray.words.operations import Accesses
from daycache_ray.words.types import Instant

AGE_S_MAX: Final = 60.0
"""A batch that says it is older than this comes from a clock that is wrong."""

SURE_RATIO: Final = 0.5
"""What the tables give this much is loaded at once, whoever is in charge."""

IsResident: TypeAlias = Callable[[str, str, bytes], bool]
"""Says of (region, service, key) whether it is stored already and need not be loaded."""


class Wanted(NamedTuple):
    """A key to load: where it belongs, and the candidate that must be reported back."""

    region: str
    service: str
    key: bytes
    candidate: Candidate


class AccessLearning:
    """All regions and streams of one cluster on one node."""

    def __init__(
        self,
        config: ClusterConfig,
        hints: HintWriter | None,
        now_s: float,
        settings: LearningSettings | None = None,
        link: NetworkLink | None = None,
    ) -> None:
        self._settings = settings or LearningSettings()
        self._link = link
        self._hints = hints
        self._chain_steps = config.prediction.chain_steps
        self._regions = {
            region.name: RegionLearner(region, config.prediction, self._settings, now_s) for region in config.regions
        }
        self._streams: OrderedDict[tuple[str, str], StreamLearner] = OrderedDict()
        self.batches_count = 0
        self.ignored_batches_count = 0
        self.noted_batches_count = 0

    def note(self, batch: Accesses, now: Instant) -> None:
        """Count a batch for what was prefetched, and learn nothing from it: there is no time for more."""
        region = self._regions.get(batch.region)
        self.noted_batches_count += 1
        if region is None or region.machine is None or len(batch.hits) != len(batch.keys):
            return
        at_s = now.boot_ns / 1e9 - _age_s(batch, now)
        seed = hint_seed(batch.region)
        for stored, hit in zip(batch.keys, batch.hits, strict=True):
            region.machine.accessed(hint_hash(stored, seed), hit != 0, at_s)

    def learn(
        self, batch: Accesses, now: Instant, is_resident: IsResident | None = None
    ) -> tuple[Wanted, ...]:
        """Learn from a batch and return what to load now, nearest first."""
        region = self._regions.get(batch.region)
        if region is None or len(batch.hits) != len(batch.keys) or not batch.keys:
            self.ignored_batches_count += 1
            return ()
        self.batches_count += 1
        service = "" if region.config.shared_between_services else batch.service
        stream = self._stream(batch.region, service)
        now_s = now.boot_ns / 1e9
        age_s = _age_s(batch, now)
        seed = hint_seed(batch.region)
        touched: dict[int, None] = {}
        # The whole batch happened before it was told: nothing may be loaded for what is in it.
        before: tuple[bytes, int] | None = None
        for stored, hit in zip(batch.keys, batch.hits, strict=True):
            # Who misses a key and looks again before loading it has asked once.
            repeated = not hit and before == (stored, hit)
            before = (stored, hit)
            if len(stored) < 4 or repeated:
                continue
            key_hash = hint_hash(stored, seed)
            region.observe(key_hash, batch.client, hit != 0, now_s - age_s)
            stream.observe(batch.client, stored)
            touched[key_hash] = None
        if self._hints is not None:
            for key_hash in touched:
                region.write_hint(self._hints, key_hash, now)
        if region.machine is None or age_s > self._settings.stale_s:
            return ()
        found = stream.roll(batch.client, self._chain_steps, region.machine.threshold_ratio)
        if self._link is not None:
            found = self._left_to_tables(stream, batch.client, found)
        return self._offer(stream, found, now_s, is_resident)

    def answered(self, question: Question, now: Instant, is_resident: IsResident | None = None) -> tuple[Wanted, ...]:
        """Return what to load after a question came back, answered or not; nothing when the client moved on."""
        region = self._regions.get(question.region)
        stream = self._streams.get((question.region, question.service))
        if question.truth is not None or region is None or region.machine is None or stream is None:
            return ()
        found = question.doubtful
        if question.answer is not None and self._link is not None:
            if not self._link.leads(question.region, question.service):
                return ()
            found = stream.answered(question, region.machine.threshold_ratio)
        return self._offer(stream, found, now.boot_ns / 1e9, is_resident)

    def _left_to_tables(
        self, stream: StreamLearner, client: int, found: dict[bytes, Candidate]
    ) -> dict[bytes, Candidate]:
        """Ask the network; what the tables doubt of the next key is its to decide while it is in charge."""
        assert self._link is not None
        question = stream.ask(client)
        if question is None or not self._link.leads(stream.region, stream.service):
            return found
        # The sure and the far ones go at once: an answer takes longer than most of them have.
        question.doubtful = {
            key: each for key, each in found.items() if each.step == 1 and each.probability < SURE_RATIO
        }
        return {key: each for key, each in found.items() if key not in question.doubtful}

    def _offer(
        self, stream: StreamLearner, found: dict[bytes, Candidate], now_s: float, is_resident: IsResident | None
    ) -> tuple[Wanted, ...]:
        if is_resident is not None:
            found = {key: each for key, each in found.items() if not is_resident(stream.region, stream.service, key)}
        keys = {candidate.key: key for key, candidate in found.items()}
        chosen = self._regions[stream.region].offer(found.values(), now_s)
        return tuple(Wanted(stream.region, stream.service, keys[each.key], each) for each in chosen)

    def loaded(self, wanted: Wanted, took_s: float, now_s: float) -> None:
        """Note that a wanted key was loaded and stored; `took_s` is what its origin took."""
        region = self._regions[wanted.region]
        region.measured_load(took_s)
        if region.machine is not None:
            region.machine.loaded(wanted.candidate.key, now_s)

    def present(self, wanted: Wanted, now_s: float) -> None:
        """Note that a wanted key was there already, or that somebody else loads it."""
        machine = self._regions[wanted.region].machine
        if machine is not None:
            machine.present(wanted.candidate.key, now_s)

    def failed(self, wanted: Wanted, now_s: float) -> None:
        """Note that a wanted key could not be loaded."""
        machine = self._regions[wanted.region].machine
        if machine is not None:
            machine.failed(wanted.candidate.key, now_s)

    def tick(self, now: Instant) -> None:
        """Do what time demands; a few times a second."""
        for region in self._regions.values():
            region.tick(self._hints, now)
        if self._hints is not None:
            self._hints.say_alive(now.wall_ns // 1_000_000)

    def statistics(self, now_s: float) -> tuple[RegionPrediction, ...]:
        """Return what was learned of each region."""
        return tuple(region.statistics(now_s) for region in self._regions.values())

    def receipts(self, region: str) -> tuple[Receipt, ...]:
        """Return the last receipts of a region's prefetches; KeyError when there is no such region."""
        machine = self._regions[region].machine
        return machine.receipts() if machine is not None else ()

    def _stream(self, region: str, service: str) -> StreamLearner:
        stream = self._streams.get((region, service))
        if stream is None:
            stream = self._streams[region, service] = StreamLearner(region, service, self._settings, self._link)
            if len(self._streams) > self._settings.streams_max:
                self._streams.popitem(last=False)
        self._streams.move_to_end((region, service))
        return stream


def _age_s(batch: Accesses, now: Instant) -> float:
    return min(max(now.wall_ns / 1e9 - batch.at_ms / 1e3, 0.0), AGE_S_MAX)
