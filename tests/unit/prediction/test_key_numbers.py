"""Text keys as numbers and back, for keys seen and never seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daycache_ray.structures.prediction.key_numbers import TYPE_SHIFT, KeyNumbers

PLAIN = [
    "AAPL",
    "AAPL_analysis",
    "candle:AAPL:0931",
    "candle:AAPL:1m:0931",
    "user:42:profile",
    "user/0042/cart",
    "a",
    "007",
    "0",
    "order-2024-11-24",
    "position:desk7:AAPL",
    ":::",
    "schlüssel:ö:12",
    "{user1}.cart",
    "²³:1",
    "x:99999999999999999999",
    "nul\x00inside:5",
    "\x00w",
    "\ud800lone:1",
]


@pytest.mark.parametrize("key", PLAIN)
def test_there_and_back(key: str) -> None:
    numbers = KeyNumbers()
    number = numbers.number_of(key)
    assert 0 <= number < 2**64
    assert numbers.text_of(number) == key
    assert numbers.number_of(key) == number


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=30, unique=True))
def test_any_keys_there_and_back_without_meeting(keys: list[str]) -> None:
    numbers = KeyNumbers()
    given_numbers = {key: numbers.number_of(key) for key in keys}
    assert len(set(given_numbers.values())) == len(keys)
    for key, number in given_numbers.items():
        assert numbers.text_of(number) == key


@given(st.text(alphabet="abc:019-", min_size=1, max_size=16), st.integers(0, 2**64 - 1))
def test_no_number_is_an_error(key: str, number: int) -> None:
    numbers = KeyNumbers()
    numbers.number_of(key)
    text = numbers.text_of(number)
    assert text is None or isinstance(text, str)


def test_differences_of_fields_are_differences_of_numbers() -> None:
    numbers = KeyNumbers()
    assert numbers.number_of("candle:AAPL:0932") - numbers.number_of("candle:AAPL:0931") == 1
    assert numbers.number_of("candle:AAPL:1000") - numbers.number_of("candle:AAPL:0959") == 41
    assert numbers.number_of("user:43") - numbers.number_of("user:42") == 1


def test_types_are_shared_by_keys_of_one_shape() -> None:
    numbers = KeyNumbers()
    kinds = [
        numbers.number_of(key) >> TYPE_SHIFT for key in ("candle:A:0931", "candle:MSFT:1559", "quote:A", "quote:MSFT")
    ]
    assert kinds[0] == kinds[1] != kinds[2] == kinds[3]


def test_a_step_learned_on_one_word_names_a_key_of_another() -> None:
    numbers = KeyNumbers()
    step = numbers.number_of("candle:AAPL:0941") - numbers.number_of("quote:AAPL")
    assert numbers.text_of(numbers.number_of("quote:MSFT") + step) == "candle:MSFT:0941"


def test_tables_are_bounded_and_what_is_beyond_them_still_has_a_number() -> None:
    numbers = KeyNumbers(templates_max=2, words_max=3, keys_max=4)
    keys = [f"kind{chr(97 + place)}:word{chr(97 + place)}x" for place in range(20)]
    for key in keys:
        assert numbers.text_of(numbers.number_of(key)) == key
        assert len(numbers) <= 2 + 3 + 4
    assert numbers.number_of(keys[0]) == numbers.number_of(keys[0])


def test_a_forgotten_opaque_key_has_no_text_and_its_old_number() -> None:
    numbers = KeyNumbers(keys_max=1)
    first = numbers.number_of("x:11111111111111")
    numbers.number_of("x:22222222222222")
    assert numbers.text_of(first) is None
    assert numbers.number_of("x:11111111111111") == first
