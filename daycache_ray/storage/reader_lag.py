"""Who reads a store at the moment, and how far the oldest of them is behind.

A read transaction pins every page that is freed after it began: the file grows while it stands. Reads of the client
last microseconds; what stays is a snapshot for a joining replica, a process that is stopped, or somebody's mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import lmdb

from daycache_ray.storage.reader import StoreReader

LONG_TRANSACTIONS: Final = 10_000
"""A reader this many turns behind is worth a word: a copy for a joining replica is done sooner."""


class ReaderLag(NamedTuple):
    """The oldest read transaction of a store; `pid` is 0 and `lag_transactions` 0 when there is none."""

    readers_count: int
    """Slots of the table in use: one for each process that has read, one for each further open transaction."""
    pid: int
    transaction_id: int
    lag_transactions: int


def reader_lag(environment: lmdb.Environment) -> ReaderLag:
    """Return the oldest reader of an environment; dead ones count until `reader_check`.

    Raises:
        lmdb.Error: as LMDB does.
    """
    last_transaction_id = int(environment.info()["last_txnid"])
    slots = list(_slots(environment.readers()))
    reading = [(transaction_id, pid) for pid, transaction_id in slots if transaction_id >= 0]
    if not reading:
        return ReaderLag(len(slots), 0, last_transaction_id, 0)
    transaction_id, pid = min(reading)
    lag = max(0, last_transaction_id - transaction_id)
    return ReaderLag(len(slots), pid if lag else 0, min(transaction_id, last_transaction_id), lag)


def _slots(table: str) -> Iterator[tuple[int, int]]:
    """Yield process and transaction, -1 for none, of LMDB's listing.

    >>> list(_slots("    pid     thread     txnid\\n      5800 7ff6b1c2cb80 12\\n      5801 7ff6b1c2cb81 -\\n"))
    [(5800, 12), (5801, -1)]
    """
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields and fields[0].isdecimal():
            yield int(fields[0]), int(fields[-1]) if fields[-1].isdecimal() else -1


def reader_lag_of(directory: str) -> ReaderLag:
    """Return the oldest reader of the store in `directory`, from any process of the node.

    Raises:
        UnavailableError: there is no store, or it cannot be read from here.
    """
    reader = StoreReader(directory)
    try:
        return reader_lag(reader.environment)
    finally:
        reader.close()
