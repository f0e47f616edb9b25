"""The two shared pages: what readers may believe of the fence, and whom the hand spares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daycache_ray.storage.fence_page import (
    PAGE_BYTES,
    WORD_COMMIT_LSN,
    WORD_SEQUENCE,
    Fence,
    FencePage,
    FenceWriter,
    namespace_inode,
)
from daycache_ray.storage.visited_page import VisitedPage
from daycache_ray.words.effects import PublishFence
from daycache_ray.words.errors import StoreFormatError
from daycache_ray.words.types import Role
from tests.unit.storage.conftest import Turns

PUBLISHED = PublishFence(
    epoch=3, role=int(Role.PRIMARY), incarnation=5, lease_until_ns=99, commit_lsn=7, applied_lsn=8, horizon_ns=2**63
)


def test_readers_see_what_is_published(tmp_path: Path) -> None:
    writer = FenceWriter(str(tmp_path / "fence"))
    page = FencePage(str(tmp_path / "fence"))
    assert page.read() == Fence(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    writer.set_generation(4)
    writer.set_namespaces(11, 12)
    writer.publish(PUBLISHED)
    assert page.read() == Fence(3, Role.PRIMARY, 5, 99, 7, 4, 8, 2**63, 11, 12)
    assert page.words[WORD_COMMIT_LSN] == 7
    assert page.words[WORD_SEQUENCE] % 2 == 0
    page.close()
    writer.close()


def test_the_mapping_of_a_reader_is_read_only(tmp_path: Path) -> None:
    FenceWriter(str(tmp_path / "fence")).close()
    page = FencePage(str(tmp_path / "fence"))
    with pytest.raises(TypeError):
        page.words[WORD_COMMIT_LSN] = 1
    page.close()


def test_a_writer_that_died_in_the_middle_is_not_believed(tmp_path: Path) -> None:
    writer = FenceWriter(str(tmp_path / "fence"))
    page = FencePage(str(tmp_path / "fence"))
    writer.publish(PUBLISHED)
    writer._words[WORD_SEQUENCE] += 1
    assert page.read() is None
    writer.publish(PUBLISHED)
    assert page.read() is not None
    page.close()
    writer.close()


def test_a_new_owner_has_no_lease(tmp_path: Path) -> None:
    writer = FenceWriter(str(tmp_path / "fence"))
    writer.set_generation(4)
    writer.publish(PUBLISHED)
    writer.close()
    writer = FenceWriter(str(tmp_path / "fence"))
    fence = writer.read()
    assert (fence.lease_until_ns, fence.role, fence.epoch, fence.generation) == (0, Role.NONE, 3, 4)
    writer.publish(PUBLISHED)
    writer.revoke()
    assert (writer.read().lease_until_ns, writer.read().role) == (0, Role.FENCED)
    writer.close()


def test_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fence"
    path.write_bytes(b"something else".ljust(PAGE_BYTES))
    with pytest.raises(StoreFormatError):
        FenceWriter(str(path))
    with pytest.raises(StoreFormatError):
        FencePage(str(path))
    path.write_bytes(b"")
    with pytest.raises(StoreFormatError, match="just being made"):
        FencePage(str(path))


def test_namespaces_are_numbers(turns: Turns) -> None:
    fence = turns.store.fence.read()
    assert fence.pid_namespace == os.stat("/proc/self/ns/pid").st_ino == namespace_inode("pid")
    assert namespace_inode("no such kind") == 0


def test_a_closed_store_is_fenced(turns: Turns) -> None:
    turns.store.fence.publish(PUBLISHED)
    turns.store.close()
    page = FencePage(os.path.join(turns.directory, "fence"))
    fence = page.read()
    assert fence is not None
    assert (fence.lease_until_ns, fence.role) == (0, Role.FENCED)
    page.close()


def test_a_visit_is_taken_once(tmp_path: Path) -> None:
    page = VisitedPage(str(tmp_path / "visited"), 4096)
    other = VisitedPage(str(tmp_path / "visited"))
    other.touch(b"key")
    assert page.take(b"key")
    assert not page.take(b"key")
    assert other.mask == 4095
    other.close()
    page.close()


def test_a_page_of_another_size_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "visited")
    VisitedPage(path, 4096).close()
    old = VisitedPage(path)
    new = VisitedPage(path, 8192)
    old.touch(b"key")
    assert not new.take(b"key")
    assert (old.mask, new.mask) == (4095, 8191)
    with pytest.raises(FileNotFoundError):
        VisitedPage(str(tmp_path / "none"))
    old.close()
    new.close()
