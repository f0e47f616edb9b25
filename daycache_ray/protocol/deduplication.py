"""Answers of recent requests, so that a repeated one is answered and not applied again (R15, R28, R29).

The table is a function of the log, so every replica of a shard has the same. It is bounded: it covers the
last records of the log, whoever wrote them. A request older than what its client still waits for, or
than what is kept of that client, is refused and never applied.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from daycache_ray.structures.tags import TAG_ROW, row_in
from daycache_ray.words.limits import DEDUPLICATION_CLIENTS_MAX
from daycache_ray.words.operations import OperationResult, Outcome
from daycache_ray.words.records import Codec, LogRecord, RecordKind

ANSWERS_KEPT: Final = 65_536
"""Answers of a shard: more than six batches of the largest size, about 15 MB."""
NUMBER_BYTES_MAX: Final = 64
"""A longer number is no counter; its digits are not kept for an answer."""
_DOUBLE: Final = struct.Struct("<d")

Answered: TypeAlias = tuple[int, int, int, int, int, int, int | float]
"""(client, sequence, LSN of the record, then outcome, epoch, lsn and number of the answer)"""


class Window:
    """The answers of one client by sequence, oldest first; below `floor` they are forgotten."""

    __slots__ = ("client", "floor", "results")

    def __init__(self, client: int) -> None:
        self.client = client
        self.floor = 0
        self.results: dict[int, tuple[int, OperationResult]] = {}
        """By sequence: the LSN of the request's record, and the answer."""

    def forget_below(self, sequence: int) -> None:
        """Drop the answers that the client has heard."""
        if sequence > self.floor:
            self.floor = sequence
        results = self.results
        while results:
            oldest = next(iter(results))
            if oldest >= sequence:
                return
            del results[oldest]


class AnswerTable:
    """Which (client, sequence) had an effect, and what was answered."""

    __slots__ = ("answers_max", "clients", "order")

    def __init__(self, answers_max: int = ANSWERS_KEPT) -> None:
        self.answers_max = answers_max
        self.clients: dict[int, Window] = {}
        self.order: deque[tuple[Window, int]] = deque()

    def window(self, client: int) -> Window:
        """Return the client's window, a new one when the client is not known."""
        window = self.clients.get(client)
        if window is None:
            if len(self.clients) >= 2 * DEDUPLICATION_CLIENTS_MAX:
                self.clients = {known: w for known, w in self.clients.items() if w.results}
            window = self.clients[client] = Window(client)
        return window

    def note(self, window: Window, sequence: int, lsn: int, result: OperationResult) -> None:
        """Remember the answer of a request whose record was appended at `lsn`."""
        window.results[sequence] = (lsn, result)
        order = self.order
        order.append((window, sequence))
        if len(order) > self.answers_max:
            oldest, seen = order.popleft()
            if oldest.results.pop(seen, None) is not None:
                oldest.floor = max(oldest.floor, seen + 1)

    def note_record(self, record: LogRecord) -> None:
        """Remember what a record from another's log answers."""
        if record.client:
            self.note(self.window(record.client), record.sequence, record.lsn, answer_in(record))

    def forget_records(self, records: Iterable[LogRecord]) -> None:
        """Forget the answers of records that were cut from the log: they have not happened."""
        for record in records:
            window = self.clients.get(record.client)
            if window is not None:
                known = window.results.get(record.sequence)
                if known is not None and known[0] == record.lsn:
                    del window.results[record.sequence]

    def dump(self, up_to_lsn: int) -> Iterator[Answered]:
        """Yield the answers whose records stand up to an LSN, for a copy."""
        for window, sequence in self.order:
            known = window.results.get(sequence)
            if known is not None and known[0] <= up_to_lsn:
                lsn, result = known
                yield window.client, sequence, lsn, result.outcome, result.epoch, result.lsn, result.number

    def load(self, answered: Iterable[Answered]) -> None:
        """Become what another table dumped."""
        self.clients.clear()
        self.order.clear()
        for client, sequence, record_lsn, outcome, epoch, lsn, number in answered:
            self.note(self.window(client), sequence, record_lsn, OperationResult(outcome, epoch, lsn, number))


def answer_in(record: LogRecord) -> OperationResult:
    """Return the answer that a client's record tells: its version, or why nothing changed.

    A STRONG condition that did not hold is a record without key, its outcome in `codec` and the version
    that it met in `target_*`: otherwise a delayed first try could still be applied after its answer.
    """
    if record.kind == RecordKind.HORIZON:
        return OperationResult(record.codec, record.target_epoch, record.target_lsn)
    if record.flags & TAG_ROW:
        return OperationResult(Outcome.DONE, record.epoch, record.lsn, row_in(record.value).hidden_count)
    return OperationResult(Outcome.DONE, record.epoch, record.lsn, number_in(record.codec, record.value))


def number_in(codec: int, value: bytes) -> int | float:
    """Return the number that an INT or FLOAT payload holds, 0 for anything else.

    >>> number_in(Codec.INT, b"-12"), number_in(Codec.STR, b"12")
    (-12, 0)
    """
    if codec == Codec.INT and 0 < len(value) <= NUMBER_BYTES_MAX:
        try:
            return int(value)
        except ValueError:
            return 0
    if codec == Codec.FLOAT and len(value) == 8:
        return float(_DOUBLE.unpack(value)[0])
    return 0
