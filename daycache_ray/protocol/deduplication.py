"""Answers of recent requests, so that a repeated one is answered and not applied again (R15, R28, R29).

The table is a function of the log, so every replica of a shard has the same. It is bounded: it covers the
last records of the log, whoever wrote them. A request older than what its client still waits for, or
than what is kept of that client, is refused and never applied.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from daycache_ray.words.limits import DEDUPLICATION_CLIENTS_MAX
from daycache_ray.words.operations import OperationResult, Outcome
from daycache_ray.words.records import Codec, LogRecord

ANSWERS_KEPT: Final = 65_536
"""Answers of a shard: more than six batches of the largest size, about 15 MB."""
NUMBER_BYTES_MAX: Final = 64
"""A longer number is no counter; its digits are not kept for an answer."""
_DOUBLE: Final = struct.Struct("<d")


class Window:
    """The answers of one client by sequence, oldest first; below `floor` they are forgotten."""

    __slots__ = ("client", "floor", "results")

    def __init__(self, client: int) -> None:
        self.client = client
        self.floor = 0
        self.results: dict[int, OperationResult] = {}

    def forget_below(self, sequence: int) -> None:
        """Drop the answers that the client has heard."""
        self.floor = max(self.floor, sequence)
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

    def note(self, window: Window, sequence: int, result: OperationResult) -> None:
        """Remember the answer of a request whose record was appended."""
        window.results[sequence] = result
        order = self.order
        order.append((window, sequence))
        if len(order) > self.answers_max:
            oldest, seen = order.popleft()
            if oldest.results.pop(seen, None) is not None:
                oldest.floor = max(oldest.floor, seen + 1)

    def note_record(self, record: LogRecord) -> None:
        """Remember what a record from another's log answers."""
        if record.client:
            result = OperationResult(Outcome.DONE, record.epoch, record.lsn, number_in(record.codec, record.value))
            self.note(self.window(record.client), record.sequence, result)

    def forget_records(self, records: Iterable[LogRecord]) -> None:
        """Forget the answers of records that were cut from the log: they have not happened."""
        for record in records:
            window = self.clients.get(record.client)
            if window is not None:
                known = window.results.get(record.sequence)
                if known is not None and known.lsn == record.lsn:
                    del window.results[record.sequence]

    def dump(self, up_to_lsn: int) -> Iterator[tuple[int, int, int, int, int | float]]:
        """Yield (client, sequence, epoch, lsn, number) of every answer up to an LSN, for a copy."""
        for window, sequence in self.order:
            result = window.results.get(sequence)
            if result is not None and result.lsn <= up_to_lsn:
                yield window.client, sequence, result.epoch, result.lsn, result.number

    def load(self, answered: Iterable[tuple[int, int, int, int, int | float]]) -> None:
        """Become what another table dumped."""
        self.clients.clear()
        self.order.clear()
        for client, sequence, epoch, lsn, number in answered:
            self.note(self.window(client), sequence, OperationResult(Outcome.DONE, epoch, lsn, number))


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
