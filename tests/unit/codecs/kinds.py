"""Types of a program, registered as a program would: what the tests of registered types store."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
from decimal import Decimal
from typing import Any, NamedTuple

import pydantic

from daycache_ray.codecs.registry import register_type


@register_type
class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"
    LONG = "buy"  # noqa: PIE796
    """Another name of BUY."""


@register_type
class Rank(enum.IntEnum):
    FIRST = 1


@register_type
class Venue(str, enum.Enum):
    XETRA = "x"


@register_type
class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@register_type
class Quote(NamedTuple):
    bid: float
    ask: float = 0.0


@register_type
@dataclasses.dataclass
class Order:
    side: Side
    size: int
    price: Decimal | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    filled: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size")

    @functools.cached_property
    def text(self) -> str:
        return f"{self.side} {self.size}"


@register_type
@dataclasses.dataclass(frozen=True, slots=True)
class Leg:
    symbol: str
    quote: Quote


class Account(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="allow")
    owner: str = pydantic.Field(alias="Owner", min_length=2)
    opened: dt.datetime | None = None
    orders: list[Any] = []
    _secret: int = pydantic.PrivateAttr(default=7)


register_type(Account, name="bank.Account")
