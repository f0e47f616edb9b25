"""Between the tables and the network: questions go out in batches, answers come back or do not.

A question is one place in one client's stream, with the tables' ranking of what may come next. The
network gives its own probabilities for the same candidates, and when the client's next access is
known both are compared; per region and service the one that was less surprised is in charge. Nobody
waits here for an answer: what the tables are sure of is loaded at once, and only what they doubt is
left to the network, as long as it is in charge. A network that raises, hangs, or says NaN costs one
batch its deadline, is counted, and is left alone for a while; the tables go on.

It refuses to know torch, Serve and arrays: `ask` and `ship` are given to it.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog

from daycache_ray.actors.clocks import read_clocks
from daycache_ray.protocol.governor import Contest, NetworkSwitch, SwitchSettings, SwitchStatistics, Trouble
from daycache_ray.protocol.prefetch import Candidate
from daycache_ray.structures.prediction.predictor import Ranking
from daycache_ray.words.config import PredictionConfig

BATCH_COUNT: Final = 128
"""Questions that are worth a call; Serve costs milliseconds a call and microseconds a question."""

BATCH_COUNT_MAX: Final = 1_024
GATHER_S: Final = 0.02
"""How long the first question waits for others: later than that its answer would come too late."""

SHIP_COUNT: Final = 256
SHIPPED_COUNT_MAX: Final = 4_096
SHIP_S: Final = 30.0
"""How long a trainer may take for a lesson; its first one waits for PyTorch to be imported."""

_log = structlog.get_logger("daycache.prefetcher")


class Question:
    """One place in one client's stream.

    `history` has the client's last keys, latest last; `doubtful` what the tables would load if they
    were in charge; `truth` the key that came next, None until it is known; `answer` the network's
    probabilities in the order of `ranking.found`.
    """

    __slots__ = ("answer", "client", "doubtful", "history", "ranking", "region", "service", "truth")

    def __init__(
        self, region: str, service: str, client: int, history: tuple[int, ...], ranking: Ranking
    ) -> None:
        self.region = region
        self.service = service
        self.client = client
        self.history = history
        self.ranking = ranking
        self.doubtful: dict[bytes, Candidate] = {}
        self.truth: int | None = None
        self.answer: Sequence[float] | None = None


Ask: TypeAlias = Callable[[list[Question]], Awaitable[Sequence[Sequence[float]]]]
"""Gives, for each question, a probability for each candidate in the order of `ranking.found`."""

Use: TypeAlias = Callable[[Question], None]
"""Takes a question that was answered, or (`answer` is None) that the tables must decide."""

Ship: TypeAlias = Callable[[list[Question]], Awaitable[None]]
"""Takes questions whose truth is known, to learn from."""


@dataclass(frozen=True, slots=True)
class ContestStatistics:
    """Tables against network in one region and service; surprises are means in nats, less is better."""

    region: str
    service: str
    compared_count: int
    tables_surprise: float
    network_surprise: float
    network_leads: bool


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """Counts since the start. `fresh_count` answers came before the client's next access."""

    switch: SwitchStatistics
    questions_count: int
    batches_count: int
    dropped_count: int
    fresh_count: int
    shipped_count: int
    ship_failures_count: int
    last_trouble: str
    contests: tuple[ContestStatistics, ...]


class NetworkLink:
    """Use from one event loop; `run` must be a task of it."""

    def __init__(self, config: PredictionConfig, ask: Ask, use: Use, ship: Ship, *, streams_max: int = 12) -> None:
        self._deadline_s = config.network_deadline_s
        self._ask = ask
        self._use = use
        self._ship = ship
        self._streams_max = streams_max
        self._switch = NetworkSwitch(SwitchSettings(deadline_s=config.network_deadline_s))
        self._contests: OrderedDict[tuple[str, str], Contest] = OrderedDict()
        self._waiting: deque[Question] = deque()
        self._known: list[Question] = []
        self._wake = asyncio.Event()
        self._full = asyncio.Event()
        self._shipping: asyncio.Task[None] | None = None
        self._counts = dict.fromkeys(("questions", "batches", "dropped", "fresh", "shipped", "ship_failures"), 0)
        self._last_trouble = ""

    def leads(self, region: str, service: str) -> bool:
        """Return whether the network decides what the tables doubt."""
        contest = self._contests.get((region, service))
        return contest is not None and contest.network_leads and self._switch.on

    def put(self, question: Question) -> None:
        """Ask about a question with the next batch; the oldest is decided by the tables when too many wait."""
        self._counts["questions"] += 1
        self._waiting.append(question)
        if len(self._waiting) > BATCH_COUNT_MAX:
            self._counts["dropped"] += 1
            self._use(self._waiting.popleft())
        self._wake.set()
        if len(self._waiting) >= BATCH_COUNT:
            self._full.set()

    def told(self, question: Question, truth: int) -> None:
        """Note the key that came after a question, whether it was asked about or only learned from."""
        question.truth = truth
        if question.answer is not None:
            self._compare(question)
        if len(self._known) < SHIPPED_COUNT_MAX:
            self._known.append(question)
        if len(self._known) >= SHIP_COUNT and self._shipping is None:
            batch, self._known = self._known, []
            self._shipping = asyncio.get_running_loop().create_task(self._send_off(batch))

    async def run(self) -> None:
        """Ask, batch after batch, until cancelled."""
        while True:
            await self._wake.wait()
            if len(self._waiting) < BATCH_COUNT:
                try:
                    await asyncio.wait_for(self._full.wait(), GATHER_S)
                except asyncio.TimeoutError:
                    pass
            self._wake.clear()
            self._full.clear()
            batch = list(self._waiting)
            self._waiting.clear()
            if batch:
                await self._ask_batch(batch)

    def statistics(self) -> NetworkStatistics:
        """Return the counts so far."""
        return NetworkStatistics(
            switch=self._switch.statistics(),
            questions_count=self._counts["questions"],
            batches_count=self._counts["batches"],
            dropped_count=self._counts["dropped"],
            fresh_count=self._counts["fresh"],
            shipped_count=self._counts["shipped"],
            ship_failures_count=self._counts["ship_failures"],
            last_trouble=self._last_trouble,
            contests=tuple(
                ContestStatistics(*stream, contest.compared_count, *contest.surprises, contest.network_leads)
                for stream, contest in self._contests.items()
            ),
        )

    async def _ask_batch(self, batch: list[Question]) -> None:
        started_s = read_clocks().boot_ns / 1e9
        answers: Sequence[Sequence[float]] | None = None
        if self._switch.may_ask(started_s):
            self._counts["batches"] += 1
            answers = await self._answers(batch, started_s)
        for place, question in enumerate(batch):
            if answers is not None:
                question.answer = answers[place]
                if question.truth is not None:
                    self._compare(question)
                else:
                    self._counts["fresh"] += 1
            self._use(question)

    async def _answers(self, batch: list[Question], started_s: float) -> Sequence[Sequence[float]] | None:
        try:
            answers = await asyncio.wait_for(self._ask(batch), self._deadline_s)
        except asyncio.TimeoutError:
            self._note(self._switch.failed(Trouble.SLOW, read_clocks().boot_ns / 1e9), f"over {self._deadline_s:g} s")
            return None
        except Exception as error:  # whatever a network raises, the tables go on
            reason = f"{type(error).__name__}: {error}"[:300]
            self._note(self._switch.failed(Trouble.DEAD, read_clocks().boot_ns / 1e9), reason)
            return None
        now_s = read_clocks().boot_ns / 1e9
        trouble = self._switch.answered(now_s - started_s, _are_probabilities(batch, answers), now_s)
        if trouble is not None:
            self._note(trouble, "an answer that cannot be used")
            return None
        return answers

    def _note(self, trouble: Trouble, reason: str) -> None:
        self._last_trouble = f"{trouble.value}: {reason}"
        if not self._switch.on:
            _log.warning("network switched off, tables go on", trouble=trouble.value, reason=reason)

    def _compare(self, question: Question) -> None:
        assert question.answer is not None and question.truth is not None
        stream = (question.region, question.service)
        contest = self._contests.get(stream)
        if contest is None:
            contest = self._contests[stream] = Contest()
            if len(self._contests) > self._streams_max:
                self._contests.popitem(last=False)
        said = question.ranking.probabilities
        names = list(question.ranking.found)
        if question.truth in question.ranking.found:
            place = names.index(question.truth)
            contest.compare(said[place], question.answer[place])
        else:
            contest.compare(1.0 - sum(said), 1.0 - sum(question.answer[: len(names)]))

    async def _send_off(self, batch: list[Question]) -> None:
        try:
            await asyncio.wait_for(self._ship(batch), SHIP_S)
            self._counts["shipped"] += len(batch)
        except Exception as error:  # a trainer that is gone costs its lessons, nothing else
            self._counts["ship_failures"] += 1
            _log.info("trainer not reached", reason=type(error).__name__)
        finally:
            self._shipping = None


def _are_probabilities(batch: list[Question], answers: Sequence[Sequence[float]]) -> bool:
    if len(answers) != len(batch):
        return False
    for question, answer in zip(batch, answers, strict=True):
        count = len(question.ranking.found)
        if len(answer) < count:
            return False
        total = math.fsum(answer[:count])
        if not 0.0 <= total <= 1.001 or min(answer[:count], default=0.0) < 0.0:
            return False
    return True
