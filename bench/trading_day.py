"""A synthetic trading day: who asks for which key when, drawn from a seed.

It knows nothing of the cache. The same plan always gives the same day.

What happens in it:

* Every client belongs to a service and asks in **chains**: it draws a symbol, then asks for the keys
  of that symbol in the order of its service (see `CHAINS`). Steps of a chain are `step_s` apart, as
  a program that works with each answer would ask.
* The **opening** (first 8 % of the day) brings four times as many chains, the close (last 6 %) twice.
* The analysis service walks **sequential windows**: six one-minute candles in a row, then what is
  computed of them.
* The risk service **refreshes by the clock**: desk after desk, every position of its book in order.
* **Drift**: each quarter of the day a quarter of the ranks of the symbols and of the partners in
  pairs trades are drawn anew.
* **Noise**: with `noise_ratio` before any step, a client asks for a reference entry that has nothing
  to do with what it is at.

Which accesses are dice is known, because the dice are thrown here: `Access.is_random` marks heads of
chains and noise. Everything else follows from what the same client asked before. `pbest` is the
probability with which somebody who knows this file and all of a client's past names its next key.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class KeyType(NamedTuple):
    """A kind of key: its region, what the origin takes for one, and about how large a value is."""

    name: str
    region: str
    origin_us: int
    value_bytes: int


KEY_TYPES: dict[str, KeyType] = {
    kind.name: kind
    for kind in (
        KeyType("quote", "market_data", 2_000, 320),
        KeyType("book", "market_data", 4_000, 1_280),
        KeyType("trades", "market_data", 6_000, 1_536),
        KeyType("candle", "market_data", 10_000, 2_400),
        KeyType("reference", "market_data", 12_000, 640),
        KeyType("position", "trading_positions", 5_000, 512),
        KeyType("limit", "trading_positions", 4_000, 256),
        KeyType("signal", "analysis_results", 25_000, 1_024),
        KeyType("volatility", "analysis_results", 30_000, 2_048),
        KeyType("risk", "analysis_results", 40_000, 3_072),
    )
}

CHAINS: dict[str, tuple[str, ...]] = {
    "market-data-service": ("quote", "book", "trades"),
    "trading-engine-service": ("quote", "position", "limit", "signal"),
    "hft-service": ("quote", "book", "pair quote", "pair book"),
    "analysis-service": ("candle",) * 6 + ("volatility", "signal"),
    "risk-service": ("position",) * 8 + ("risk",),
}
"""What each service asks for, in order, once it has drawn a symbol (risk: once the clock said so)."""

CLIENT_COUNTS = {
    "market-data-service": 6,
    "trading-engine-service": 6,
    "hft-service": 4,
    "analysis-service": 7,
    "risk-service": 1,
}
STEP_S = {"hft-service": 0.012}
STEP_S_OTHERS = 0.03
WINDOWS_COUNT = 48
"""Candle windows of a symbol; a walk of six starts at one of the newest and may run into the next."""


class Access(NamedTuple):
    """One question of one client. `at_s` counts from the opening bell of the replay."""

    at_s: float
    key: str
    region: str
    client: int
    service: str
    kind: str
    origin_us: int
    is_random: bool
    pbest: float
    is_region_head: bool = False
    """Not random, but the first access of its chain to its region: it follows from another region's."""


@dataclass(frozen=True)
class DayPlan:
    """How large a day is: `requests_count` is aimed at (within a few percent), the rest is exact.

    `duration_s` is how long the replay takes: the day is told in fast motion, by fewer chains an
    hour; inside a chain time runs as it would.
    """

    seed: int = 1
    requests_count: int = 24_000
    duration_s: float = 40.0
    symbols_count: int = 120
    desks_count: int = 6
    references_count: int = 1_500
    noise_ratio: float = 0.05
    zipf: float = 0.9
    refresh_s: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.noise_ratio < 1:
            raise ValueError(f"noise_ratio must be in 0 ... 1, not {self.noise_ratio}")
        if (
            min(self.requests_count, self.symbols_count, self.desks_count, self.references_count) < 1
            or self.duration_s <= 0
        ):
            raise ValueError("a day needs at least one request, symbol, desk and reference, and some seconds")


@dataclass(frozen=True)
class TradingDay:
    """The accesses in the order of their time, and what is known about their dice."""

    plan: DayPlan
    accesses: list[Access] = field(repr=False)

    @property
    def random_ratio(self) -> float:
        """Part of the accesses whose key was drawn by the dice: nobody can foresee these."""
        return sum(access.is_random for access in self.accesses) / max(len(self.accesses), 1)

    @property
    def region_head_ratio(self) -> float:
        """Part that follows from another region's accesses only: dice to a predictor of single regions."""
        return sum(access.is_region_head for access in self.accesses) / max(len(self.accesses), 1)

    @property
    def best_ratio(self) -> float:
        """Expected part that an all-knowing predictor of one key names rightly: the ceiling for top-1."""
        return sum(access.pbest for access in self.accesses) / max(len(self.accesses), 1)

    @property
    def keys(self) -> dict[str, str]:
        """Every key that is asked for, with its kind, in the order of first use."""
        return {access.key: access.kind for access in self.accesses}

    def describe(self) -> str:
        """Return a sentence or two for a report."""
        clients = f"{sum(CLIENT_COUNTS.values())} clients of {len(CHAINS)} services"
        return (
            f"synthetic trading day, seed {self.plan.seed}: {len(self.accesses):,} requests for {len(self.keys):,} "
            f"keys by {clients} in {self.plan.duration_s:g} s. {self.random_ratio:.1%} of the accesses are random "
            f"(drawn heads of chains and noise); an all-knowing predictor would be right in {self.best_ratio:.1%}. "
            f"Another {self.region_head_ratio:.1%} follow only from what was asked of another region."
        )

    def write_parquet(self, path: str | Path) -> None:
        """Write the day as a trace: ts (us), key (u64), name, client, service, type, cost_us, pbest.

        A key's number is type << 40 | symbol << 20 | the number in its name (window, desk, reference).
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds, services = list(KEY_TYPES), list(CHAINS)
        symbols: dict[str, int] = {}
        numbers: dict[str, int] = {}
        for key, kind in self.keys.items():
            parts = key.split(":")[1:]
            words = [symbols.setdefault(part, len(symbols) + 1) for part in parts if not part.isdigit()]
            fields = [int(part) for part in parts if part.isdigit()]
            numbers[key] = (kinds.index(kind) << 40) + (sum(words) << 20) + sum(fields)
        rows = self.accesses
        table = pa.table(
            {
                "ts": pa.array([int(a.at_s * 1e6) for a in rows], pa.uint64()),
                "key": pa.array([numbers[a.key] for a in rows], pa.uint64()),
                "name": pa.array([a.key for a in rows]),
                "client": pa.array([a.client for a in rows], pa.uint8()),
                "service": pa.array([services.index(a.service) for a in rows], pa.uint8()),
                "type": pa.array([kinds.index(a.kind) for a in rows], pa.uint8()),
                "cost_us": pa.array([a.origin_us for a in rows], pa.uint32()),
                "pbest": pa.array([a.pbest for a in rows], pa.float32()),
            }
        )
        pq.write_table(table, path)


def _symbol(number: int) -> str:
    """Return four letters, another four for each number below 8,000.

    >>> _symbol(0), _symbol(1), _symbol(7_999)
    ('BABA', 'CABA', 'ZUZU')
    """
    consonants = "BCDFGHJKLMNPRSTVWXYZ"
    number, first = divmod(number, 20)
    number, third = divmod(number, 20)
    fourth, second = divmod(number, 4)
    return consonants[first] + "AEIU"[second] + consonants[third] + "AEIOU"[fourth]


class _Market:
    """The symbols' ranks and partners, which drift from quarter to quarter of the day."""

    def __init__(self, plan: DayPlan, rng: random.Random) -> None:
        self._plan = plan
        count = plan.symbols_count
        weights = [1 / (rank + 1) ** plan.zipf for rank in range(count)]
        self._cumulated = list(itertools.accumulate(weights))
        self.top_ratio = weights[0] / self._cumulated[-1]
        self._symbols = [_symbol(number) for number in range(count)]
        ranks, partners = rng.sample(range(count), count), rng.sample(range(count), count)
        self._quarters = []
        for _ in range(4):
            self._quarters.append((list(ranks), list(partners)))
            for drifting in (ranks, partners):
                places = rng.sample(range(count), max(count // 4, 1))
                moved = rng.sample([drifting[place] for place in places], len(places))
                for place, value in zip(places, moved, strict=True):
                    drifting[place] = value
        self._books = [rng.sample(self._symbols, min(8, count)) for _ in range(plan.desks_count)]

    def _quarter(self, at_s: float) -> tuple[list[int], list[int]]:
        return self._quarters[min(int(4 * at_s / self._plan.duration_s), 3)]

    def draw(self, at_s: float, rng: random.Random) -> int:
        rank = bisect.bisect(self._cumulated, rng.random() * self._cumulated[-1])
        return self._quarter(at_s)[0][min(rank, self._plan.symbols_count - 1)]

    def chain(self, service: str, symbol: int, client: int, round_number: int, at_s: float) -> list[tuple[str, str]]:
        """Return the (kind, key) pairs that follow from a symbol (risk: from the number of the round)."""
        name, partner = self._symbols[symbol], self._symbols[self._quarter(at_s)[1][symbol]]
        desk = client % self._plan.desks_count
        # The newest window when this walk begins; it moves with the day, so new keys appear all day long.
        window = int(at_s / self._plan.duration_s * (WINDOWS_COUNT - 6))
        if service == "risk-service":
            desk = round_number % self._plan.desks_count
            steps = [("position", f"position:{desk}:{book_symbol}") for book_symbol in self._books[desk]]
            return [*steps, ("risk", f"risk:{desk}")]
        result = []
        for step in CHAINS[service]:
            kind, of = (step.removeprefix("pair "), partner) if step.startswith("pair ") else (step, name)
            if kind == "candle":
                result.append((kind, f"candle:{of}:{window:03d}"))
                window += 1
            elif kind in ("position", "limit"):
                result.append((kind, f"{kind}:{desk}" if kind == "limit" else f"position:{desk}:{of}"))
            else:
                result.append((kind, f"{kind}:{of}"))
        return result


def _pace(at_s: float, duration_s: float) -> float:
    """Return how many times as busy as in quiet hours it is."""
    if at_s < 0.08 * duration_s:
        return 4.0
    return 2.0 if at_s > 0.94 * duration_s else 1.0


def _client(
    plan: DayPlan, market: _Market, service: str, client: int, chain_gap_s: float, rng: random.Random
) -> Iterator[Access]:
    """Yield one client's day in order."""
    step_s = STEP_S.get(service, STEP_S_OTHERS)
    is_clocked = service == "risk-service"
    at_s = rng.random() * (plan.refresh_s if is_clocked else chain_gap_s)
    for round_number in itertools.count():
        begun_s = at_s
        symbol = 0 if is_clocked else market.draw(at_s, rng)
        regions_met: set[str] = set()
        for place, (kind, key) in enumerate(market.chain(service, symbol, client, round_number, at_s)):
            is_dice = place == 0 and not is_clocked
            pbest = (1 - plan.noise_ratio) * (market.top_ratio if is_dice else 1.0)
            while rng.random() < plan.noise_ratio:
                number = rng.randrange(plan.references_count)
                yield _access(at_s, f"reference:{number:05d}", "reference", client, service, True, pbest)
                at_s += step_s * rng.uniform(0.6, 1.4)
            access = _access(at_s, key, kind, client, service, is_dice, pbest)
            is_head = not is_clocked and not is_dice and access.region not in regions_met
            regions_met.add(access.region)
            yield access._replace(is_region_head=is_head)
            at_s += step_s * rng.uniform(0.6, 1.4)
        if is_clocked:
            at_s = max(begun_s + plan.refresh_s, at_s)
        else:
            at_s += rng.expovariate(1 / chain_gap_s) / _pace(at_s, plan.duration_s)
        if at_s >= plan.duration_s:
            return


def _access(at_s: float, key: str, kind: str, client: int, service: str, is_random: bool, pbest: float) -> Access:
    known = KEY_TYPES[kind]
    return Access(at_s, key, known.region, client, service, kind, known.origin_us, is_random, pbest)


def _chain_gap_s(plan: DayPlan) -> float:
    """Return the quiet-hour pause between chains that brings about `requests_count` requests."""
    steps = 1 / (1 - plan.noise_ratio)
    clocked = plan.duration_s / plan.refresh_s * len(CHAINS["risk-service"]) * steps

    def expected(gap_s: float) -> float:
        total = clocked
        for service, clients_count in CLIENT_COUNTS.items():
            if service == "risk-service":
                continue
            chain_s = len(CHAINS[service]) * steps * STEP_S.get(service, STEP_S_OTHERS)
            for share, pace in ((0.08, 4.0), (0.86, 1.0), (0.06, 2.0)):
                total += (
                    clients_count * len(CHAINS[service]) * steps * share * plan.duration_s / (chain_s + gap_s / pace)
                )
        return total

    low, high = 1e-6, plan.duration_s
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if expected(middle) > plan.requests_count else (low, middle)
    return high


def trading_day(plan: DayPlan | None = None) -> TradingDay:
    """Return the day of a plan; the same plan gives the same day on every machine.

    >>> day = trading_day(DayPlan(seed=7, requests_count=2_000, duration_s=4))
    >>> day == trading_day(DayPlan(seed=7, requests_count=2_000, duration_s=4))
    True
    """
    plan = plan or DayPlan()
    rng = random.Random(plan.seed)
    market = _Market(plan, rng)
    gap_s = _chain_gap_s(plan)
    streams = []
    for service, clients_count in CLIENT_COUNTS.items():
        for _ in range(clients_count):
            client = len(streams)
            streams.append(_client(plan, market, service, client, gap_s, random.Random(rng.getrandbits(64))))
    return TradingDay(plan, list(heapq.merge(*streams)))
