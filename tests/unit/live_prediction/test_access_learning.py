"""From batches of accesses to hints and loads, in virtual time, without sockets and Ray."""

import pytest

from daycache_ray.actors.access_learning import AccessLearning
from daycache_ray.actors.region_learning import LearningSettings
from daycache_ray.protocol.prefetch import Candidate
from daycache_ray.storage.hint_table import HintReader, HintWriter, hint_hash, hint_seed
from daycache_ray.structures.store_keys import service_prefix, store_key
from daycache_ray.words.config import ClusterConfig, PredictionConfig, RegionConfig
from daycache_ray.words.operations import Accesses
from daycache_ray.words.types import AccessPattern, Instant

WALL_NS = 1_700_000_000_000_000_000
SMALL = LearningSettings(keys_max=2_048, contexts_max=1_024, streams_max=2)


def _config(**changes) -> ClusterConfig:
    region = {"name": "r", "prefetch": True, "loader": "package.module:name"} | changes
    regions = [RegionConfig(**region), RegionConfig(name="plain")]
    return ClusterConfig(regions=regions, prediction=PredictionConfig(holdout_ratio=0.0))


def _at(now_s: float) -> Instant:
    return Instant(int(now_s * 1e9), WALL_NS + int(now_s * 1e9))


def _stored(key: str, service: str = "s") -> bytes:
    return store_key(key.encode(), service_prefix(service.encode()))


def _batch(keys, now_s: float, *, hit=0, region="r", service="s", client=1) -> Accesses:
    stored = [_stored(key, service) for key in keys]
    at_ms = (WALL_NS + int(now_s * 1e9)) // 1_000_000
    return Accesses(region, service, client, at_ms, stored, bytes([hit]) * len(stored))


def _chain(learning: AccessLearning, rounds: int, start_s: float = 100.0, symbols: int = 6):
    """Ask quote -> candle -> signal of one symbol after the other; give back what was wanted. No load succeeds."""
    now_s, wanted = start_s, []
    for round_number in range(rounds):
        symbol = f"S{round_number * 5 % symbols}"
        for kind in ("quote", "candle", "signal"):
            now_s += 0.5
            wanted.append((kind, symbol, learning.learn(_batch([f"{kind}:{symbol}"], now_s), _at(now_s))))
            for each in wanted[-1][2]:
                learning.failed(each, now_s)
    return now_s, wanted


def test_a_chain_is_learned_and_its_rest_is_wanted():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    _, wanted = _chain(learning, 120)
    for place in range(len(wanted) - 60, len(wanted)):
        kind, symbol, _ = wanted[place]
        ahead = {each.key.decode() for _, _, chosen in wanted[place - 8 : place] for each in chosen}
        assert f"{kind}:{symbol}" in ahead, "it was named before it was asked for"
    _, _, last = max(wanted[-30:], key=lambda each: len(each[2]))
    assert [one.candidate.step for one in last] == sorted(one.candidate.step for one in last), "nearest first"
    assert all((one.region, one.service) == ("r", "s") for one in last)


def test_what_is_in_flight_or_resident_is_not_wanted_again():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    now_s, _ = _chain(learning, 120)
    resident = {f"{kind}:{symbol}".encode() for kind in ("candle", "signal", "quote") for symbol in ("S0", "S5")}
    wanted = learning.learn(
        _batch(["quote:S0"], now_s + 30.0), _at(now_s + 30.0), lambda region, service, key: key in resident
    )
    assert not {each.key for each in wanted} & resident


def test_loads_that_are_asked_for_are_useful_and_the_others_wasted():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    now_s, _ = _chain(learning, 120)
    before = learning.statistics(now_s)[0].prefetch
    now_s += 10.0
    wanted_now = learning.learn(_batch(["quote:S1"], now_s), _at(now_s))
    candle = next(each for each in wanted_now if each.key == b"candle:S1")
    learning.loaded(candle, 0.02, now_s + 0.02)
    now_s += 0.1
    learning.learn(_batch(["candle:S1"], now_s, hit=1), _at(now_s))
    after = learning.statistics(now_s)[0].prefetch
    assert after.useful_count == before.useful_count + 1
    assert any(receipt.key == candle.candidate.key for receipt in learning.receipts("r"))


def test_a_batch_that_is_only_counted_settles_prefetches_and_teaches_nothing():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    now_s, _ = _chain(learning, 120)
    now_s += 10.0
    for wanted in learning.learn(_batch(["quote:S1"], now_s), _at(now_s)):
        learning.loaded(wanted, 0.02, now_s)
    before = learning.statistics(now_s)[0]
    learning.note(_batch(["candle:S1"], now_s + 0.1, hit=1), _at(now_s + 0.1))
    learning.note(_batch(["k"], now_s, region="unknown"), _at(now_s))
    after = learning.statistics(now_s)[0]
    assert after.prefetch.useful_count == before.prefetch.useful_count + 1
    assert after.accesses_count == before.accesses_count
    assert learning.noted_batches_count == 2


class Link:
    """A link whose network is in charge, or not, and answers when it is told to."""

    def __init__(self, in_charge=True):
        self.in_charge = in_charge
        self.questions = []
        self.truths = []

    def leads(self, region, service):
        return self.in_charge

    def put(self, question):
        self.questions.append(question)

    def told(self, question, truth):
        question.truth = truth
        self.truths.append((question, truth))


def _linked(in_charge: bool):
    link = Link(in_charge)
    learning = AccessLearning(_config(), None, 0.0, SMALL, link)
    now_s, _ = _chain(learning, 120)
    now_s += 30.0
    link.questions.clear()
    wanted = learning.learn(_batch(["quote:S1"], now_s), _at(now_s))
    (question,) = link.questions
    return link, learning, now_s, wanted, question


def test_every_truth_is_told_once():
    link, learning, now_s, _, question = _linked(in_charge=False)
    count = len(link.truths)
    learning.learn(_batch(["candle:S1"], now_s + 0.1), _at(now_s + 0.1))
    assert len(link.truths) == count + 1
    asked, truth = link.truths[-1]
    assert asked is question
    assert truth in question.ranking.found, "the tables had nominated it"
    assert len(question.history) == 16


def test_the_network_in_charge_decides_what_the_tables_doubt():
    _, learning, now_s, _, question = _linked(in_charge=True)
    place = len(question.ranking.found) - 1
    question.answer = [0.0] * place + [0.9]
    wanted = learning.answered(question, _at(now_s + 0.02))
    assert [each.candidate.source for each in wanted] == ["network"] * len(wanted)
    assert len(wanted) <= 1


def test_a_network_that_is_not_in_charge_loads_nothing():
    _, learning, now_s, wanted, question = _linked(in_charge=False)
    assert question.doubtful == {}
    assert any(each.key == b"candle:S1" for each in wanted)
    question.answer = [0.9] + [0.0] * (len(question.ranking.found) - 1)
    assert learning.answered(question, _at(now_s + 0.02)) == ()


def test_an_answer_for_a_client_that_moved_on_loads_nothing():
    _, learning, now_s, _, question = _linked(in_charge=True)
    learning.learn(_batch(["candle:S1"], now_s + 0.1), _at(now_s + 0.1))
    question.answer = [0.9] * len(question.ranking.found)
    assert learning.answered(question, _at(now_s + 0.2)) == ()


def test_what_was_left_to_a_network_that_fails_is_loaded_by_the_tables():
    link, learning, now_s, _, question = _linked(in_charge=True)
    question.doubtful = {b"candle:S3": Candidate(12_345, 0.4, 1)}
    link.in_charge = False
    wanted = learning.answered(question, _at(now_s + 0.02))
    assert [(each.key, each.candidate.source) for each in wanted] == [(b"candle:S3", "tables")]


def test_nothing_in_a_batch_is_loaded_for_the_batch_itself():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    now_s, _ = _chain(learning, 120)
    now_s += 10.0
    wanted = learning.learn(_batch(["quote:S2", "candle:S2", "signal:S2"], now_s), _at(now_s))
    assert not {each.key for each in wanted} & {b"quote:S2", b"candle:S2", b"signal:S2"}


def test_what_follows_an_old_batch_is_too_late():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    now_s, _ = _chain(learning, 120)
    assert learning.learn(_batch(["quote:S3"], now_s), _at(now_s + 5.0)) == ()


def test_a_region_without_prefetching_has_hints_all_the_same(tmp_path):
    hints = HintWriter(tmp_path / "hints", slots=64)
    learning = AccessLearning(_config(), hints, 0.0, SMALL)
    for visit in range(12):
        now_s = 100.0 + visit * 20.0
        assert learning.learn(_batch(["board"], now_s, region="plain"), _at(now_s)) == ()
    learning.tick(_at(now_s + 1.0))
    reader = HintReader(tmp_path / "hints")
    hint = reader.get(hint_hash(_stored("board"), hint_seed("plain")))
    assert hint.pattern is AccessPattern.PERIODIC
    assert hint.period_s == pytest.approx(20.0)
    assert 0.0 < hint.probability < 1.0
    assert reader.alive_ms == _at(now_s + 1.0).wall_ns // 1_000_000
    prediction = next(each for each in learning.statistics(now_s) if each.region == "plain")
    assert prediction.prefetch is None
    assert not prediction.prefetch_allowed
    reader.close()
    hints.close()


def test_hints_of_quiet_keys_are_written_anew(tmp_path):
    hints = HintWriter(tmp_path / "hints", slots=64)
    learning = AccessLearning(_config(), hints, 0.0, SMALL)
    learning.learn(_batch(["quiet"], 100.0), _at(100.0))
    reader = HintReader(tmp_path / "hints")
    place = hint_hash(_stored("quiet"), hint_seed("r"))
    before = reader.get(place)
    for number in range(2_000):
        now_s = 100.1 + number * 0.01
        learning.learn(_batch([f"other{number}"], now_s), _at(now_s))
        if number % 20 == 0:
            learning.tick(_at(now_s))
    after = reader.get(place)
    assert after is None or after.updated_ms > before.updated_ms
    reader.close()
    hints.close()


@pytest.mark.parametrize(
    "batch",
    [
        _batch(["k"], 1.0, region="unknown"),
        Accesses("r", "s", 1, 0, [_stored("k")], b""),
        Accesses("r", "s", 1, 0, [], b""),
    ],
)
def test_batches_that_cannot_be_are_ignored_and_counted(batch):
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    assert learning.learn(batch, _at(1.0)) == ()
    assert learning.ignored_batches_count == 1


def test_odd_keys_are_followed_and_never_wanted():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    odd = [b"", b"\0\0", b"\0\0\x01s", b"\0\0\x01s\xff\xfe", b"\0\0\xffs", _stored("k" * 4_000)]
    for round_number in range(50):
        now_s = 10.0 + round_number
        batch = Accesses("r", "s", 1, _at(now_s).wall_ns // 1_000_000, odd, bytes(len(odd)))
        for each in learning.learn(batch, _at(now_s)):
            each.key.decode()
            assert not each.key.startswith(b"\xff")


def test_streams_are_bounded():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    for number in range(10):
        learning.learn(_batch(["k"], 1.0, service=f"service-{number}"), _at(1.0))
    assert len(learning._streams) == 2


def test_a_wrong_clock_is_harmless():
    learning = AccessLearning(_config(), None, 0.0, SMALL)
    learning.learn(Accesses("r", "s", 1, 0, [_stored("k")], b"\0"), _at(500.0))
    learning.learn(Accesses("r", "s", 1, 2**62, [_stored("k")], b"\1"), _at(500.0))
    assert learning.statistics(500.0)[0].accesses_count == 2


def test_prediction_config_is_taken():
    config = ClusterConfig(
        regions=[RegionConfig(name="r", prefetch=True, loader="a.b:c", prefetch_threshold_ratio=0.3)],
        prediction=PredictionConfig(holdout_ratio=0.5),
    )
    learning = AccessLearning(config, None, 0.0, SMALL)
    _chain(learning, 120)
    prefetch = learning.statistics(200.0)[0].prefetch
    assert prefetch.held_out_count > 0
    assert prefetch.threshold_ratio >= 0.3
