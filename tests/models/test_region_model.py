"""A region beside a plain dict: whatever is done to both, both say the same. Here over a replica in a dict.

tests/cluster/test_client.py runs the same machine against real replicas.
"""

from __future__ import annotations

from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daycache_ray.client.region import Region
from daycache_ray.words.config import RegionConfig
from daycache_ray.words.errors import NotANumberError, VersionConflictError
from daycache_ray.words.types import Version
from tests.unit.client.one_replica import Stage

KEYS = st.one_of(st.sampled_from(["a", "b", "{tag}.c", "{tag}.d", "é", "k" * 600]), st.sampled_from([b"\xff", b"a"]))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from([b"x" * 10_000, "y" * 5_000]),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.lists(st.floats(allow_nan=False), max_size=3),
)
LEVELS = st.sampled_from(["strong", "eventual", None])


def raw(key: str | bytes) -> bytes:
    """Return the one name of an entry."""
    return key.encode() if isinstance(key, str) else key


def is_number(value: Any) -> bool:
    """Return whether increment takes it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class RegionBesideDict(RuleBasedStateMachine):
    """Operations of one client without a second writer, without expiry and without failures."""

    make_region: ClassVar[Any] = staticmethod(lambda: Stage(RegionConfig(name="orders", shards=3)).region)

    def __init__(self) -> None:
        super().__init__()
        self.region: Region = self.make_region()
        self.model: dict[bytes, Any] = {}
        self.versions: dict[bytes, Version] = {}

    @initialize()
    def begin_empty(self) -> None:
        """Nothing of an earlier run may be seen."""
        self.region.clear()

    @rule(key=KEYS, value=VALUES, level=LEVELS)
    def set(self, key: Any, value: Any, level: Any) -> None:
        """A set always writes."""
        version = self.region.set(key, value, level=level)
        assert version > self.versions.get(raw(key), Version(0, 0))
        self.model[raw(key)], self.versions[raw(key)] = value, version

    @rule(values=st.dictionaries(KEYS, VALUES, max_size=5))
    def set_many(self, values: dict[Any, Any]) -> None:
        """A batch is as good as its parts; a key in both spellings is written twice, in order."""
        versions = self.region.set_many(values)
        assert versions.keys() == values.keys()
        for key, value in values.items():
            self.model[raw(key)], self.versions[raw(key)] = value, versions[key]

    @rule(key=KEYS, value=VALUES)
    def add(self, key: Any, value: Any) -> None:
        """An add writes only where there is nothing."""
        assert self.region.add(key, value) is (raw(key) not in self.model)
        if raw(key) not in self.model:
            self.model[raw(key)] = value
            self._learn_version(key)

    @rule(key=KEYS, level=LEVELS)
    def delete(self, key: Any, level: Any) -> None:
        """A delete says whether there was something."""
        assert self.region.delete(key, level=level) is (raw(key) in self.model)
        self.model.pop(raw(key), None)

    @rule(key=KEYS)
    def touch(self, key: Any) -> None:
        """A touch keeps the value."""
        assert self.region.touch(key, 1_000.0) is (raw(key) in self.model)
        if raw(key) in self.model:
            self._learn_version(key)

    @rule(key=KEYS, by=st.integers(-5, 5))
    def increment(self, key: Any, by: int) -> None:
        """An increment counts from 0, and refuses what is no number."""
        if not is_number(self.model.get(raw(key), 0)):
            with pytest.raises(NotANumberError):
                self.region.increment(key, by)
            return
        expected = self.model.get(raw(key), 0) + by
        try:
            found = self.region.increment(key, by)
        except NotANumberError:
            assert abs(expected) > 2**63, "only numbers beyond 64 bits may be refused"
            return
        assert found == expected
        self.model[raw(key)] = expected
        self._learn_version(key)

    @rule(key=KEYS, value=VALUES, is_right=st.booleans())
    def compare_and_set(self, key: Any, value: Any, is_right: bool) -> None:
        """A compare-and-set writes where the version is right, and otherwise tells the right one."""
        current = self.versions[raw(key)] if raw(key) in self.model else None
        expected = current if is_right else Version(1, 2**40)
        if is_right:
            version = self.region.compare_and_set(key, value, expected)
            self.model[raw(key)], self.versions[raw(key)] = value, version
        else:
            with pytest.raises(VersionConflictError) as conflict:
                self.region.compare_and_set(key, value, expected)
            assert conflict.value.current == current

    @rule(key=KEYS, value=VALUES)
    def get_or_load(self, key: Any, value: Any) -> None:
        """A load fills what is missing."""
        found = self.region.get_or_load(key, lambda _: value)
        if raw(key) in self.model:
            assert same(found, self.model[raw(key)])
        else:
            assert same(found, value)
            self.model[raw(key)] = value
            self._learn_version(key)

    @precondition(lambda self: self.model)
    @rule()
    def clear(self) -> None:
        """A clear counts what there was."""
        assert self.region.clear() == len(self.model)
        self.model.clear()

    @rule(key=KEYS, level=LEVELS)
    def get(self, key: Any, level: Any) -> None:
        """A get sees one's own writes."""
        nothing = object()
        found = self.region.get(key, nothing, level=level)
        if raw(key) in self.model:
            assert same(found, self.model[raw(key)])
        else:
            assert found is nothing
        assert self.region.exists(key, level=level) is (raw(key) in self.model)

    @rule(keys=st.lists(KEYS, max_size=6), level=LEVELS)
    def get_many(self, keys: list[Any], level: Any) -> None:
        """A batch is as good as its parts."""
        found = self.region.get_many(keys, level=level)
        assert found.keys() == {key for key in keys if raw(key) in self.model}
        for key, value in found.items():
            assert same(value, self.model[raw(key)])

    @rule(key=KEYS)
    def entry(self, key: Any) -> None:
        """An entry has the version that its write was given."""
        entry = self.region.get_entry(key)
        if raw(key) in self.model:
            assert entry is not None
            assert same(entry.value, self.model[raw(key)])
            assert entry.version == self.versions[raw(key)]
        else:
            assert entry is None

    @invariant()
    def scan_finds_all(self) -> None:
        """A scan gives every key once."""
        found = [raw(key) for key in self.region.scan()]
        assert sorted(found) == sorted(self.model)

    def _learn_version(self, key: Any) -> None:
        entry = self.region.get_entry(key, level="strong")
        assert entry is not None
        assert entry.version >= self.versions.get(raw(key), Version(0, 0))
        self.versions[raw(key)] = entry.version


def same(found: Any, expected: Any) -> bool:
    """Return whether two values are equal and of one type."""
    return type(found) is type(expected) and bool(found == expected)


RegionBesideDict.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestRegionBesideDict = RegionBesideDict.TestCase
