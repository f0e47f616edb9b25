"""Nominates the keys that may come next, with the evidence for each: at most 32.

Seven tables name successors of the history (keys, or differences of keys, which name keys that were
never asked for), the field transfer carries differences between types, and the plain guesses are the
last step again and the next number.
"""

from __future__ import annotations

from typing import Final

from daycache_ray.structures.prediction.field_transfer import FieldTransfer
from daycache_ray.structures.prediction.history import History
from daycache_ray.structures.prediction.layout import (
    BUCKET_OF,
    BUCKETS,
    NEWEST_AT,
    NEXT_AT,
    NONE_AT,
    RECENCY_AT,
    REPEAT_AT,
    SET_SIZE,
    STRIDE_AT,
    TABLES,
    TOPS_AT,
    TRANSFER_AT,
    WIDTHS,
)
from daycache_ray.structures.prediction.recency import Recency
from daycache_ray.structures.prediction.successor_tables import TOTAL_MAX, Row, SuccessorTable

CANDIDATES_MAX: Final = 32
_TABLE_CANDIDATES_MAX: Final = 28
"""The rest of the places are for what the tables cannot name."""
_SPAN: Final = TOTAL_MAX + 1
_KEY_MAX: Final = (1 << 64) - 1
_TRANSFER_BIT: Final = 1 << len(TABLES)

Nominated = dict[int, list[int]]
"""Candidate key -> the numbers of its evidence, see `layout`. While nominating, the first number is not
evidence yet: its low byte has a bit for each table that has the candidate on top, the next one for each whose
newest successor it is."""


class Candidates:
    """The tables of one service and what they nominate."""

    def __init__(self, *, contexts_max: int) -> None:
        self._tables = tuple(SuccessorTable(contexts_max=contexts_max, successors_max=width) for width in WIDTHS)
        self._key_types = SuccessorTable(contexts_max=contexts_max, successors_max=4)
        self._type_types = SuccessorTable(contexts_max=max(2, contexts_max // 16), successors_max=4)
        self._transfer = FieldTransfer(pairs_max=max(2, contexts_max // 16))
        self._recency = Recency(keys_max=contexts_max)

    @property
    def contexts_count(self) -> int:
        """Contexts remembered in all tables together."""
        return sum(map(len, self._tables)) + len(self._key_types) + len(self._type_types)

    def learn(self, history: History, key: int, kind: int) -> None:
        """Count that `key` of type `kind` came after `history`."""
        order3, order2, order1, private1, types3, delta2, delta1 = self._tables
        delta = key - history.key
        order3.learn(history.order3, key)
        order2.learn(history.order2, key)
        order1.learn(history.key, key)
        private1.learn(history.private, key)
        types3.learn(history.types3, delta)
        delta2.learn(history.delta2, delta)
        delta1.learn(history.delta, delta)
        self._key_types.learn(history.key, kind)
        self._type_types.learn(history.type, kind)
        self._transfer.learn(history.type, kind, delta)

    def count(self, key: int) -> None:
        """Count an access of `key`, whoever asked."""
        self._recency.learn(key)

    def nominate(self, history: History) -> tuple[Nominated, list[int]]:
        """Return the candidates with their evidence, and the evidence for "none of them"."""
        tables, key = self._tables, history.key
        rows: tuple[tuple[Row | None, int], ...] = (
            (tables[0].row(history.order3), 0),
            (tables[1].row(history.order2), 0),
            (tables[2].row(key), 0),
            (tables[3].row(history.private), 0),
            (tables[4].row(history.types3), key),
            (tables[5].row(history.delta2), key),
            (tables[6].row(history.delta), key),
        )
        known = 3 if rows[0][0] else 2 if rows[1][0] else 1 if rows[2][0] else 0
        at = known * SET_SIZE
        none = [at + SET_SIZE - 1]
        found: Nominated = {}
        bit, base, none_base = 1, at, at + NONE_AT
        for row, anchor in rows:
            if row is None:
                none.append(none_base + BUCKETS)
            else:
                none.append(none_base + _add_row(found, row, anchor, bit, base))
            bit <<= 1
            base += BUCKETS
            none_base += BUCKETS + 1
        self._nominate_transferred(history, found, at)
        _nominate_steps(history, found, at)
        self._finish(history, found, at)
        return found, none

    def _finish(self, history: History, found: Nominated, at: int) -> None:
        """Turn the marks in front into evidence, and add what is known of each candidate by itself."""
        bucket, recency_at, tops_at, newest_at = self._recency.bucket, at + RECENCY_AT, at + TOPS_AT, at + NEWEST_AT
        for name, evidence in found.items():
            marks = evidence[0]
            evidence[0] = tops_at + (marks & 0xFF)
            if marks > 0xFF:
                evidence.append(newest_at + (marks >> 8))
            evidence.append(recency_at + bucket(name))
        if history.key in found:
            found[history.key].append(at + REPEAT_AT)
        for place, name in enumerate(history.earlier):
            if name in found:
                found[name].append(at + REPEAT_AT + place + 1)

    def _nominate_transferred(self, history: History, found: Nominated, at: int) -> None:
        row = self._key_types.row(history.key) or self._type_types.row(history.type)
        if row is None:
            return
        for place in range(2, len(row), 2):
            known = self._transfer.difference(history.type, row[place])
            if known is None:
                continue
            held = int(known[1] * 7.99)
            mark = _TRANSFER_BIT if place == 2 and held >= 4 else 0
            _add(found, history.key + known[0], mark, at + TRANSFER_AT + held * 4 + (place - 2 >> 1))


def _nominate_steps(history: History, found: Nominated, at: int) -> None:
    key = history.key
    if history.delta:
        _add(found, key + history.delta, 0, at + STRIDE_AT + min(history.repeats, 7))
    _add(found, key + 1, 0, at + NEXT_AT)


def _add(found: Nominated, name: int, marks: int, number: int) -> None:
    evidence = found.get(name)
    if evidence is not None:
        evidence[0] |= marks
        evidence.append(number)
    elif len(found) < CANDIDATES_MAX and 0 <= name <= _KEY_MAX:
        found[name] = [marks, number]


def _add_row(found: Nominated, row: Row, anchor: int, bit: int, base: int) -> int:
    """Nominate a table's successors and return the bucket of the first. The hot loop: written for speed."""
    held = found.get
    newest = row[1]
    offset = row[0] * _SPAN
    marks = bit
    for place in range(2, len(row), 2):
        successor = row[place]
        number = base + BUCKET_OF[offset + row[place + 1]]
        if successor == newest:
            marks |= bit << 8
        name = successor + anchor
        evidence = held(name)
        if evidence is not None:
            if marks:
                evidence[0] |= marks
            evidence.append(number)
        elif len(found) < _TABLE_CANDIDATES_MAX and 0 <= name <= _KEY_MAX:
            found[name] = [marks, number]
        marks = 0
    return BUCKET_OF[offset + row[3]]
