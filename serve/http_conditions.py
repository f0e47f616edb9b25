"""Entity tags and conditions of RFC 9110: what a request demands of an entry's version.

It refuses to know caches. A tag is the version, "epoch-lsn"; a representation that is not the value's usual one has a
dot and its name behind, because strong tags of different bytes must differ.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from daycache_ray.serve.http_problems import Problem
from daycache_ray.words.errors import InvalidArgumentError
from daycache_ray.words.types import Version

_TAG: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_VERSION: Final = re.compile(r"(\d{1,20})-(\d{1,20})(?:\.[a-z]+)?")


class Tags(NamedTuple):
    """The versions that a condition lists. `is_any`: it said `*`."""

    is_any: bool
    strong: frozenset[Version]
    weak: frozenset[Version]
    texts: frozenset[str]
    """Every tag as it stands between the quotes."""


def version_text(version: Version) -> str:
    """Return a version as headers show it.

    >>> version_text(Version(2, 7))
    '2-7'
    """
    return f"{version.epoch}-{version.lsn}"


def etag(version: Version, variant: str = "") -> str:
    """Return the strong entity tag of a version's representation.

    >>> etag(Version(2, 7)), etag(Version(2, 7), "json")
    ('"2-7"', '"2-7.json"')
    """
    return f'"{version_text(version)}{"." if variant else ""}{variant}"'


def parse_tags(header: str, name: str) -> Tags:
    """Return what an If-Match or If-None-Match header lists; tags that are no versions of ours match nothing.

    Raises:
        InvalidArgumentError: it is neither `*` nor a list of quoted tags.
    """
    if header.strip() == "*":
        return Tags(True, frozenset(), frozenset(), frozenset())
    strong: set[Version] = set()
    weak: set[Version] = set()
    texts: set[str] = set()
    position = 0
    while position < len(header):
        found = _TAG.match(header, position)
        if found is None:
            raise InvalidArgumentError(f"{name} is '*' or a list of quoted tags such as \"1-42\", not {header!r}")
        version = _VERSION.fullmatch(found[2])
        if version is not None:
            (weak if found[1] else strong).add(Version(int(version[1]), int(version[2])))
        texts.add(found[2])
        position = found.end()
    if not texts:
        raise InvalidArgumentError(f"{name} is empty; leave it out, or name a tag")
    return Tags(False, frozenset(strong), frozenset(weak), frozenset(texts))


def is_not_modified(header: str | None, version: Version, variant: str) -> bool:
    """Return whether a GET's If-None-Match names this representation, so that 304 is the answer."""
    if header is None:
        return False
    tags = parse_tags(header, "If-None-Match")
    return tags.is_any or etag(version, variant).strip('"') in tags.texts


def require_match(header: str | None, version: Version) -> None:
    """Raise Problem (412) where a GET's If-Match does not name the version."""
    if header is None:
        return
    tags = parse_tags(header, "If-Match")
    if not tags.is_any and version not in tags.strong:
        raise Problem(
            "precondition-failed", f"the entry's version is {version_text(version)}", current=version_text(version)
        )
