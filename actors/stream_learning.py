"""One service's accesses to one region: what follows what, and the questions for the network.

It refuses to know time, hints and loads.
"""

from __future__ import annotations

from daycache_ray.actors.network_link import NetworkLink, Question
from daycache_ray.actors.region_learning import LearningSettings
from daycache_ray.protocol.prefetch import Candidate
from daycache_ray.storage.hint_table import hint_hash, hint_seed
from daycache_ray.structures.prediction.key_numbers import KeyNumbers
from daycache_ray.structures.prediction.predictor import Predictor, Ranking
from daycache_ray.structures.store_keys import service_prefix, split_store_key, store_key

HISTORY_COUNT = 16
"""Keys of a client's past that a question carries."""


class _Client:
    """Where one client is: its last keys, latest last, and what was asked about its next one."""

    __slots__ = ("history", "question")

    def __init__(self) -> None:
        self.history: list[int] = []
        self.question: Question | None = None


class StreamLearner:
    """What follows what in one service's accesses to one region."""

    def __init__(self, region: str, service: str, settings: LearningSettings, link: NetworkLink | None) -> None:
        self.region = region
        self.service = service
        self._seed = hint_seed(region)
        self._prefix = service_prefix(service.encode())
        self._numbers = KeyNumbers(keys_max=settings.keys_max)
        self._predictor = Predictor(contexts_max=settings.contexts_max, clients_max=settings.clients_max)
        self._settings = settings
        self._link = link
        self._clients: dict[int, _Client] = {}
        self._accesses_count = 0

    def observe(self, client: int, stored: bytes) -> None:
        """Learn that `client` asked for the key under the store key `stored`."""
        # Of a key too long for the store only the digest is known: it can be followed, not loaded.
        _, key = split_store_key(stored)
        if not key:
            return
        number = self._numbers.number_of(key.decode("utf-8", "surrogateescape"))
        self._predictor.observe(client, number)
        if self._link is not None:
            self._remember(client, number)
        self._accesses_count += 1
        if self._accesses_count < self._settings.rank_first or self._accesses_count % self._settings.rank_every == 0:
            # Asked for, so that the next access teaches the ranker; the answer is not needed.
            ranking = self._predictor.ranking(client)
            if self._link is not None and ranking is not None:
                self._clients[client].question = self._question(client, ranking)

    def roll(self, client: int, steps: int, floor_ratio: float) -> dict[bytes, Candidate]:
        """Return what `client` will ask for, by key; only keys that a loader can be asked for as text."""
        found: dict[bytes, Candidate] = {}
        for rolled in self._predictor.roll(client, steps, floor_ratio):
            key = self._key_of(rolled.key)
            if key:
                found[key] = self._candidate(key, rolled.probability, rolled.step, "tables")
        return found

    def ask(self, client: int) -> Question | None:
        """Put a question about the client's next key to the network; None where nothing can be asked."""
        ranking = self._predictor.ranking(client)
        known = self._clients.get(client)
        if self._link is None or ranking is None or known is None or not ranking.found:
            return None
        if known.question is None:
            known.question = self._question(client, ranking)
        self._link.put(known.question)
        return known.question

    def answered(self, question: Question, floor_ratio: float) -> dict[bytes, Candidate]:
        """Return what the network's answer says of the next key, as `roll` does."""
        assert question.answer is not None
        found: dict[bytes, Candidate] = {}
        for number, probability in zip(question.ranking.found, question.answer, strict=False):
            key = self._key_of(number) if probability >= floor_ratio else b""
            if key:
                found[key] = self._candidate(key, probability, 1, "network")
        return found

    def _remember(self, client: int, number: int) -> None:
        known = self._clients.pop(client, None)
        if known is None:
            known = _Client()
            if len(self._clients) >= self._settings.clients_max:
                del self._clients[next(iter(self._clients))]
        self._clients[client] = known
        if known.question is not None and self._link is not None:
            self._link.told(known.question, number)
            known.question = None
        known.history.append(number)
        if len(known.history) > HISTORY_COUNT:
            del known.history[0]

    def _question(self, client: int, ranking: Ranking) -> Question:
        return Question(self.region, self.service, client, tuple(self._clients[client].history), ranking)

    def _candidate(self, key: bytes, probability: float, step: int, source: str) -> Candidate:
        place = hint_hash(store_key(key, self._prefix), self._seed)
        return Candidate(place, min(probability, 1.0), step, source)

    def _key_of(self, number: int) -> bytes:
        text = self._numbers.text_of(number)
        try:
            return text.encode() if text else b""
        except UnicodeEncodeError:
            return b""
