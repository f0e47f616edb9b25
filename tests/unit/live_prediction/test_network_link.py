"""The link to a network that answers, lies, raises or hangs: what is used, what is counted."""

import asyncio
import math

import pytest

from daycache_ray.actors.network_link import BATCH_COUNT, BATCH_COUNT_MAX, NetworkLink, Question
from daycache_ray.structures.prediction.predictor import Ranking
from daycache_ray.words.config import PredictionConfig

NAMES = (11, 12, 13)


class Desk:
    """A network and a trainer that do as they are told, and what came back."""

    def __init__(self, answer=(0.1, 0.8, 0.05)):
        self.answer = answer
        self.asked = []
        self.used = []
        self.shipped = []

    async def ask(self, batch):
        self.asked.append(len(batch))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == "hang":
            await asyncio.Event().wait()
        return [list(self.answer) for _ in batch]

    def use(self, question):
        self.used.append(question)

    async def ship(self, batch):
        if self.answer == "no trainer":
            raise ConnectionError("gone")
        self.shipped.extend(batch)


def _question(client=1) -> Question:
    return Question("r", "s", client, (1, 2, 3), Ranking({name: [] for name in NAMES}, [], [0.5, 0.2, 0.1]))


async def _until(condition):
    async def watch():
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(watch(), 30)


@pytest.fixture
async def linked():
    tasks = []

    def start(desk, deadline_s=5.0):
        link = NetworkLink(PredictionConfig(network_deadline_s=deadline_s), desk.ask, desk.use, desk.ship)
        tasks.append(asyncio.get_running_loop().create_task(link.run()))
        return link

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_questions_go_out_together_and_come_back_answered(linked):
    desk = Desk()
    link = linked(desk)
    for client in range(BATCH_COUNT):
        link.put(_question(client))
    await _until(lambda: len(desk.used) == BATCH_COUNT)
    assert desk.asked == [BATCH_COUNT]
    assert all(question.answer == [0.1, 0.8, 0.05] for question in desk.used)
    counted = link.statistics()
    assert (counted.questions_count, counted.batches_count, counted.fresh_count) == (BATCH_COUNT, 1, BATCH_COUNT)


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (ValueError("broken"), "dead"),
        ((math.nan, 0.1, 0.1), "not a number"),
        ((0.9, 0.9, 0.9), "not a number"),
        ((-0.5, 0.1, 0.1), "not a number"),
        ((0.1,), "not a number"),
        ("hang", "slow"),
    ],
)
async def test_a_bad_network_leaves_every_question_to_the_tables_and_is_switched_off(linked, answer, trouble):
    desk = Desk(answer)
    link = linked(desk, deadline_s=0.01)
    for number in range(5):
        link.put(_question())
        await _until(lambda number=number: len(desk.used) == number + 1)
    assert all(question.answer is None for question in desk.used)
    counted = link.statistics()
    assert not counted.switch.on
    assert counted.batches_count == 3, "after three in a row nobody asks any more"
    assert counted.last_trouble.startswith(trouble)
    assert not link.leads("r", "s")


async def test_the_network_leads_where_it_is_less_surprised(linked):
    desk = Desk(answer=(0.05, 0.9, 0.01))
    link = linked(desk)
    for number in range(300):
        question = _question()
        link.put(question)
        await _until(lambda number=number: len(desk.used) == number + 1)
        link.told(question, 12)
    assert link.leads("r", "s")
    assert not link.leads("r", "another")
    (contest,) = link.statistics().contests
    assert contest.network_surprise < contest.tables_surprise
    for _ in range(300, 2_000):
        question = _question()
        question.answer = [0.05, 0.9, 0.01]
        link.told(question, 99)
    assert not link.leads("r", "s"), "none of them came, and it had been sure"


async def test_an_answer_after_the_truth_is_compared_and_not_fresh(linked):
    desk = Desk()
    link = linked(desk)
    question = _question()
    link.put(question)
    link.told(question, 12)
    await _until(lambda: desk.used)
    counted = link.statistics()
    assert counted.fresh_count == 0
    assert counted.contests[0].compared_count == 1


async def test_what_is_known_is_shipped_to_the_trainer(linked):
    desk = Desk()
    link = linked(desk)
    for _ in range(256):
        link.told(_question(), 12)
    await _until(lambda: len(desk.shipped) == 256)
    await _until(lambda: link.statistics().shipped_count == 256)
    assert all(question.truth == 12 for question in desk.shipped)


async def test_a_trainer_that_is_gone_costs_its_lessons_only(linked):
    desk = Desk("no trainer")
    link = linked(desk)
    for _ in range(20_000):
        link.told(_question(), 12)
    await _until(lambda: link.statistics().ship_failures_count >= 1)
    assert link.statistics().shipped_count == 0
    assert len(link._known) <= 4_096


async def test_too_many_questions_are_left_to_the_tables(linked):
    desk = Desk()
    link = NetworkLink(PredictionConfig(), desk.ask, desk.use, desk.ship)
    for client in range(BATCH_COUNT_MAX + 10):
        link.put(_question(client))
    assert [question.client for question in desk.used] == list(range(10))
    assert link.statistics().dropped_count == 10
