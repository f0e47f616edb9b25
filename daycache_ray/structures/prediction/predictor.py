"""What a service's clients will ask for next: tables nominate, a regression ranks, chains roll forward.

Keys are 64-bit numbers in which the high bits (from `type_shift` on) say what kind of thing a key is
and the low bits which one, so that differences of keys mean something; `key_numbers` makes such
numbers from text and text from numbers. This file knows nothing of caches, time or networks.

The composing file of this folder: everything else in it stands alone.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Final, NamedTuple

from daycache_ray.structures.prediction.calibration import Calibration
from daycache_ray.structures.prediction.candidates import CANDIDATES_MAX, Candidates, Nominated
from daycache_ray.structures.prediction.chain import RolledKey, roll_chain
from daycache_ray.structures.prediction.history import History, client_salt
from daycache_ray.structures.prediction.key_numbers import TYPE_SHIFT
from daycache_ray.structures.prediction.layout import first_weights
from daycache_ray.structures.prediction.ranker import SoftmaxRanker

_PROBABILITY: Final = itemgetter(1)
_NAMED_FLOOR: Final = 0.02
"""Keys less likely than this are not carried along a chain."""


class Ranking(NamedTuple):
    """One prediction with all that led to it: `probabilities` in the order of `found`, not calibrated."""

    found: Nominated
    none: list[int]
    probabilities: list[float]


class _Step:
    """What was said of one place on the way ahead, and the place after its likeliest key.

    When the client gets there, this is its prediction: made a few accesses ago, and a third cheaper in all.
    """

    __slots__ = ("after", "named", "ranking")

    def __init__(self, ranking: Ranking, named: list[tuple[int, float]]) -> None:
        self.ranking = ranking
        self.named = named
        self.after: History | None = None


class _Stream:
    """One client: where it is, what was said of its next key, and what the last chain was made of."""

    __slots__ = ("history", "ranking", "steps")

    def __init__(self, history: History) -> None:
        self.history = history
        self.ranking: Ranking | None = None
        self.steps: dict[int, _Step] = {}


class Predictor:
    """One predictor per service; a stream per client; memory bounded by the sizes given here.

    Call `observe` for every access, in the client's order; then `predict` or `roll` when the answer is
    wanted. A prediction that was asked for is learned from at the client's next access.

    `type_shift`: 0 .. 64, the bit at which a key's type begins. `contexts_max`: contexts per table, nine
    tables, about 200 bytes a context. `clients_max`: streams; the one that is silent longest goes.

    >>> predictor = Predictor()
    >>> for key in [1, 2, 3] * 20: predictor.observe(0, key); guess = predictor.predict(0, count=1)
    >>> guess[0][0]
    1
    """

    def __init__(self, *, type_shift: int = TYPE_SHIFT, contexts_max: int = 1 << 16, clients_max: int = 1024) -> None:
        assert 0 <= type_shift <= 64
        assert contexts_max >= 32
        assert clients_max >= 1
        self._shift = type_shift
        self._clients_max = clients_max
        self._streams: dict[int, _Stream] = {}
        self._candidates = Candidates(contexts_max=contexts_max)
        self._ranker = SoftmaxRanker(first_weights())
        self._calibration = Calibration()

    def __repr__(self) -> str:
        return f"<Predictor {len(self._streams)} clients, {self._candidates.contexts_count} contexts>"

    @property
    def contexts_count(self) -> int:
        """Contexts remembered in all tables together."""
        return self._candidates.contexts_count

    def observe(self, client: int, key: int) -> None:
        """Learn that `client` asked for `key`: 0 .. 2**64 - 1."""
        kind = key >> self._shift
        stream = self._streams.pop(client, None)
        if stream is None:
            if len(self._streams) >= self._clients_max:
                del self._streams[next(iter(self._streams))]
            stream = _Stream(History(client_salt(client), key, kind))
        else:
            if stream.ranking is not None:
                self._learn(stream.ranking, key)
                stream.ranking = None
            self._candidates.learn(stream.history, key, kind)
            stream.history = stream.history.after(key, kind)
            if stream.steps and stream.history.order3 not in stream.steps:
                stream.steps = {}  # the client left the chain: what was said of it would only grow old
        self._candidates.count(key)
        self._streams[client] = stream

    def predict(self, client: int, count: int = 10) -> list[tuple[int, float]]:
        """Return the likeliest next keys of `client`, best first, with their probabilities.

        Empty for a client that was never observed or has been forgotten.
        """
        ranking = self.ranking(client)
        if ranking is None:
            return []
        return self._named(ranking, count, 0.0)

    def ranking(self, client: int) -> Ranking | None:
        """Return the whole prediction for the client's next key; None for a client that is not known."""
        stream = self._streams.get(client)
        if stream is None:
            return None
        if stream.ranking is None:
            step = stream.steps.pop(stream.history.order3, None)
            stream.ranking = step.ranking if step is not None else self._rank(stream.history)
        return stream.ranking

    def roll(self, client: int, steps: int, floor_ratio: float) -> list[RolledKey]:
        """Return keys of at least `floor_ratio` (0 .. 1) probability within `steps` accesses, nearest first.

        While a client walks along the chain that was said, only its far end is worked out anew.
        """
        ranking = self.ranking(client)
        if ranking is None:
            return []
        stream = self._streams[client]
        known = stream.steps
        used: dict[int, _Step] = {}

        def ranked(place: History) -> list[tuple[int, float]]:
            if place is stream.history:
                return self._named(ranking, CANDIDATES_MAX, _NAMED_FLOOR)
            step = known.get(place.order3)
            if step is None:
                fresh = self._rank(place)
                step = _Step(fresh, self._named(fresh, CANDIDATES_MAX, _NAMED_FLOOR))
            used[place.order3] = step
            return step.named

        def follow(place: History, key: int) -> History:
            step = used.get(place.order3)
            if step is None:
                return place.after(key, key >> self._shift)
            if step.after is None:
                step.after = place.after(key, key >> self._shift)
            return step.after

        chain = roll_chain(stream.history, ranked, follow, steps=steps, floor_ratio=floor_ratio)
        stream.steps = used
        return chain

    def _rank(self, history: History) -> Ranking:
        found, none = self._candidates.nominate(history)
        return Ranking(found, none, self._ranker.rank(found.values(), none))

    def _named(self, ranking: Ranking, count: int, floor_ratio: float) -> list[tuple[int, float]]:
        named = [pair for pair in zip(ranking.found, ranking.probabilities, strict=True) if pair[1] >= floor_ratio]
        if len(named) > 1:
            named.sort(key=_PROBABILITY, reverse=True)
        corrected = self._calibration.corrected
        return [(key, corrected(said)) for key, said in named[:count]]

    def _learn(self, ranking: Ranking, key: int) -> None:
        found, none, said = ranking
        truth = list(found).index(key) if key in found else -1
        for place, probability in enumerate(said):
            if probability > 0.05:
                self._calibration.learn(probability, place == truth)
        self._ranker.learn(said, found.values(), none, truth)
