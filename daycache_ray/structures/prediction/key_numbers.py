"""Text keys as 64-bit numbers and back, so that a key that nobody has asked for can be named.

    number = type (20 bits) | word (16 bits) | fields (28 bits)

A key is cut at its digits and separators. The first word and everything odd stay in the *template*;
later words that stand alone between separators are *the word* (all of them together get one number);
runs of digits are the *fields*, and their widths belong to the template, so zero padding survives:

    candle:AAPL:0931   ->  type "candle:<word>:<4 digits>", word "AAPL", field 931

So the difference between quote:AAPL and candle:AAPL:0931 is the same for every symbol, and adding it
to quote:MSFT names candle:MSFT:0931 before anybody asked for it. Keys that do not fit (fields beyond
28 bits, a full table) get an opaque number: it predicts as well as any other, carries no differences,
and is turned back only while the key itself is remembered.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

TYPE_SHIFT: Final = 44
_FIELD_BITS: Final = 28
_WORD_BITS: Final = 16
_OPAQUE: Final = 1 << 63
"""Types with the highest bit set are hashes of whole keys."""

_TOKEN: Final = re.compile(r"[0-9]+|[:/._\-|,;@#=?&{} ]+|[^0-9:/._\-|,;@#=?&{} ]+")
_PIECE: Final = re.compile(r"\x00(w|[0-9]+\x00)")


class KeyNumbers:
    """Both directions, over bounded tables: `templates_max` <= 2**19, `words_max` <= 2**16, `keys_max`.

    Templates and words keep their numbers for good, so a number never changes its meaning; when those
    tables are full, new shapes become opaque. Opaque keys are forgotten oldest first.

    >>> numbers = KeyNumbers()
    >>> step = numbers.number_of("candle:AAPL:0931") - numbers.number_of("quote:AAPL")
    >>> numbers.text_of(numbers.number_of("quote:MSFT") + step)
    'candle:MSFT:0931'
    """

    def __init__(self, *, templates_max: int = 4096, words_max: int = 65_536, keys_max: int = 65_536) -> None:
        assert 1 <= templates_max <= 1 << 19
        assert 1 <= words_max <= 1 << _WORD_BITS
        assert keys_max >= 1
        self._templates_max = templates_max
        self._words_max = words_max
        self._keys_max = keys_max
        self._template_numbers: dict[str, int] = {}
        self._templates: list[str] = []
        self._word_numbers: dict[str, int] = {"": 0}
        self._words: list[str] = [""]
        self._opaque: dict[int, str] = {}

    def __len__(self) -> int:
        """Templates, words and opaque keys remembered, together."""
        return len(self._templates) + len(self._words) + len(self._opaque)

    def number_of(self, key: str) -> int:
        """Return the number of a key, 0 .. 2**64 - 1; always the same for the same key."""
        assert key, "a key has at least one character"
        template, word, fields = _cut(key)
        packed = _pack(fields)
        if packed is None or len(template) > 200:
            return self._hashed(key)
        kind = self._template_numbers.get(template)
        named = self._word_numbers.get(word)
        if kind is None and len(self._templates) >= self._templates_max:
            return self._hashed(key)
        if named is None and len(self._words) >= self._words_max:
            return self._hashed(key)
        if kind is None:
            kind = self._template_numbers[template] = len(self._templates)
            self._templates.append(template)
        if named is None:
            named = self._word_numbers[word] = len(self._words)
            self._words.append(word)
        return kind << TYPE_SHIFT | named << _FIELD_BITS | packed

    def text_of(self, number: int) -> str | None:
        """Return the key of a number, also one that was never given; None when it can name nothing."""
        if number & _OPAQUE:
            return self._opaque.get(number)
        kind, named = number >> TYPE_SHIFT, number >> _FIELD_BITS & (1 << _WORD_BITS) - 1
        if number < 0 or kind >= len(self._templates) or named >= len(self._words):
            return None
        template = self._templates[kind]
        pieces = _PIECE.findall(template)
        words = self._words[named].split("\x00") if named else []
        widths = [int(piece[:-1]) for piece in pieces if piece != "w"]
        fields = _unpack(number & (1 << _FIELD_BITS) - 1, len(widths))
        if len(words) != pieces.count("w") or fields is None:
            return None
        digits = [str(field).zfill(width) for field, width in zip(fields, widths, strict=True)]
        return _fill(template, words, digits)

    def _hashed(self, key: str) -> int:
        number = _OPAQUE | int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        if number not in self._opaque and len(self._opaque) >= self._keys_max:
            del self._opaque[next(iter(self._opaque))]
        self._opaque[number] = key
        return number


def _cut(key: str) -> tuple[str, str, list[str]]:
    """Return (template, words joined by NUL, digit runs)."""
    if "\x00" in key:
        return key, "", ["9" * 20]  # NUL is the template's own mark: such a key is opaque
    tokens: list[str] = _TOKEN.findall(key)
    words: list[str] = []
    fields: list[str] = []
    parts: list[str] = []
    last = len(tokens) - 1
    for at, token in enumerate(tokens):
        if token[0] in "0123456789":
            fields.append(token)
            parts.append(f"\x00{len(token)}\x00")
        elif at and not _separates(token) and _separates(tokens[at - 1]) and (at == last or _separates(tokens[at + 1])):
            words.append(token)
            parts.append("\x00w")
        else:
            parts.append(token)
    return "".join(parts), "\x00".join(words), fields


def _separates(token: str) -> bool:
    return token[0] in ":/._-|,;@#=?&{} "


def _pack(fields: list[str]) -> int | None:
    """Return the fields side by side in 28 bits, the last ones lowest, or None when they do not fit."""
    if not fields:
        return 0
    if len(fields) > 4 or any(len(field) > 9 for field in fields):
        return None
    bits = _FIELD_BITS // len(fields)
    packed = 0
    for field in fields:
        value = int(field)
        if value >> bits:
            return None
        packed = packed << bits | value
    return packed


def _unpack(packed: int, count: int) -> list[int] | None:
    if count == 0:
        return [] if packed == 0 else None
    bits = _FIELD_BITS // count
    fields = [packed >> bits * place & (1 << bits) - 1 for place in range(count - 1, -1, -1)]
    return fields if packed >> bits * count == 0 else None


def _fill(template: str, words: list[str], digits: list[str]) -> str:
    word, digit = iter(words), iter(digits)
    return _PIECE.sub(lambda match: next(word) if match[1] == "w" else next(digit), template)
