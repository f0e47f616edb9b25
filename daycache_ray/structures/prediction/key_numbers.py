"""Text keys as 64-bit numbers and back, so that a key never seen can be named.

Number = type (20 bits) | word (16 bits) | fields (28 bits). "candle:AAPL:0931" has the type
"candle:<word>:<4 digits>", the word AAPL and the field 931.
"""

from __future__ import annotations

TYPE_SHIFT = 44


class KeyNumbers:
    """Both directions, over bounded tables of templates, words and whole keys."""

    def __init__(self, *, templates_max: int = 4096, words_max: int = 65_536, keys_max: int = 65_536) -> None:
        raise NotImplementedError

    def number_of(self, key: str) -> int:
        """Return the 64-bit number of a key; the same key gives the same number while it is remembered."""
        raise NotImplementedError

    def text_of(self, number: int) -> str | None:
        """Return the key of a number, also one that was never asked for; None when it names nothing."""
        raise NotImplementedError
