"""The three switches in virtual time."""

import math

import pytest

from daycache_ray.protocol.governor import (
    Contest,
    HarmCounts,
    HarmSettings,
    HarmSwitch,
    NetworkSwitch,
    SwitchSettings,
    Trouble,
)

SETTINGS = SwitchSettings(deadline_s=0.25, failures_max=3, off_s=5.0, off_s_max=20.0)
QUICK = (0.01, True)
SLOW = (0.5, True)
NAN = (0.01, False)


@pytest.mark.parametrize(
    ("answers", "on"),
    [
        ([QUICK] * 5, True),
        ([SLOW] * 2, True),
        ([SLOW] * 3, False),
        ([NAN] * 3, False),
        ([SLOW, NAN, SLOW], False),
        ([SLOW, SLOW, QUICK, SLOW, SLOW], True),
    ],
)
def test_only_bad_answers_in_a_row_switch_off(answers, on):
    switch = NetworkSwitch(SETTINGS)
    for took_s, finite in answers:
        switch.answered(took_s, finite, 10.0)
    assert switch.on is on
    assert switch.may_ask(10.0) is on


def test_an_answer_is_used_only_when_nothing_is_wrong_with_it():
    switch = NetworkSwitch(SETTINGS)
    assert switch.answered(*QUICK, 0.0) is None
    assert switch.answered(*SLOW, 0.0) is Trouble.SLOW
    assert switch.answered(*NAN, 0.0) is Trouble.NOT_A_NUMBER
    assert switch.failed(Trouble.DEAD, 0.0) is Trouble.DEAD
    counted = switch.statistics()
    assert (counted.answers_count, counted.slow_count, counted.not_a_number_count, counted.dead_count) == (1, 1, 1, 1)


def test_one_trial_after_a_while_and_longer_after_each_failure():
    switch = NetworkSwitch(SETTINGS)
    for _ in range(3):
        switch.failed(Trouble.DEAD, 100.0)
    assert not switch.may_ask(104.9)
    assert switch.may_ask(105.0)
    assert not switch.may_ask(105.0), "one trial at a time"
    switch.failed(Trouble.DEAD, 105.1)
    assert not switch.may_ask(115.0)
    assert switch.may_ask(115.2)
    switch.failed(Trouble.DEAD, 115.2)
    assert switch.may_ask(135.3), "the pause has a longest"
    switch.answered(*QUICK, 135.4)
    assert switch.on
    assert switch.statistics().switched_off_count == 1


def test_questions_still_out_when_it_went_off_do_not_prolong_it():
    switch = NetworkSwitch(SETTINGS)
    for _ in range(3):
        switch.failed(Trouble.DEAD, 100.0)
    switch.failed(Trouble.DEAD, 103.0)
    assert switch.may_ask(105.0)


def test_waste_switches_a_region_off_and_time_on_again():
    switch = HarmSwitch(HarmSettings(ended_min=50, wasted_per_saved_max=3.0, off_s=60.0))
    assert switch.judge(HarmCounts(40, 20, 40, 0, 0, 0), 0.0)
    assert not switch.judge(HarmCounts(45, 120, 45, 0, 0, 0), 1.0)
    assert "wasted" in switch.reason
    assert not switch.allowed(60.9)
    assert switch.allowed(61.1)
    assert switch.judge(HarmCounts(45, 120, 45, 0, 0, 0), 62.0), "old harm is not judged twice"
    assert switch.judge(HarmCounts(95, 130, 95, 0, 0, 0), 63.0)
    assert switch.switched_off_count == 1


def test_a_relapse_lasts_longer():
    switch = HarmSwitch(HarmSettings(ended_min=10, off_s=60.0))
    assert not switch.judge(HarmCounts(0, 20, 0, 0, 0, 0), 0.0)
    assert switch.judge(HarmCounts(0, 20, 0, 0, 0, 0), 61.0)
    assert not switch.judge(HarmCounts(0, 40, 0, 0, 0, 0), 61.0)
    assert not switch.allowed(61.0 + 119.0)
    assert switch.allowed(61.0 + 121.0)


def test_prefetching_that_gains_nothing_over_the_holdout_stops():
    switch = HarmSwitch()
    gaining = HarmCounts(900, 10, 1_000, 100, 50, 48)
    assert switch.judge(gaining, 0.0)
    assert not switch.judge(HarmCounts(1_000, 20, 3_000, 2_050, 150, 140), 1.0)
    assert "held-out" in switch.reason


def test_chance_alone_does_not_switch_off():
    switch = HarmSwitch()
    assert switch.judge(HarmCounts(100, 10, 110, 100, 30, 28), 0.0)


def test_the_tables_lead_until_the_network_has_proved_better():
    contest = Contest(warm_count=100)
    for _ in range(99):
        contest.compare(0.3, 0.9)
    assert not contest.network_leads
    contest.compare(0.3, 0.9)
    assert contest.network_leads


def test_equals_do_not_take_turns():
    contest = Contest(warm_count=10, margin_ratio=0.05)
    changes, before = 0, contest.network_leads
    for number in range(2_000):
        contest.compare(0.5, 0.5 + (0.005 if number % 40 < 20 else -0.005))
        changes += contest.network_leads is not before
        before = contest.network_leads
    assert changes == 0


def test_a_network_gone_mad_loses_its_lead():
    contest = Contest(warm_count=10, memory_count=100)
    for _ in range(50):
        contest.compare(0.3, 0.9)
    assert contest.network_leads
    for _ in range(200):
        contest.compare(0.3, math.nan)
    assert not contest.network_leads
    assert contest.compared_count == 250
