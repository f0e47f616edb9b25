"""What a region says about loading beyond its loader: how stale, how early, how many at once, how patient.

Each field is off until it is given. docs/origins.md has them beside each other.
"""

from __future__ import annotations

from pydantic import BaseModel, Field, model_validator
from typing_extensions import Self

from daycache_ray.words.limits import TTL_S_MAX


class LoadingFields(BaseModel):
    """Fields of RegionConfig about get_or_load and get_or_load_many."""

    stale_for_s: float | None = Field(
        default=None,
        gt=0,
        le=TTL_S_MAX,
        allow_inf_nan=False,
        description="How long an expired entry is kept, hidden from every other read, so that get_or_load can answer "
        "with it when the origin fails; None: not at all.",
    )
    soft_deadline_s: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="How long get_or_load waits for its loader while there is a stale value; then that is the answer, "
        "and the load goes on behind it. 0 revalidates always behind the answer. Needs stale_for_s.",
    )
    refresh_ahead_ratio: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Part of its TTL after which an entry that get_or_load finds is loaded anew behind the answer.",
    )
    early_expiry_beta: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Loads an entry anew behind the answer, with a probability that rises towards its end and with "
        "what its load took (XFetch); 1 is the usual choice, more is earlier.",
    )
    load_concurrency_max: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Most questions that one process has open at its origin; further ones wait in a queue, and those "
        "of a batch loader are put together there.",
    )
    load_queue_max: int = Field(
        default=1_000,
        ge=0,
        le=1_000_000,
        description="Most questions that wait in that queue; beyond it a load is refused with BackpressureError.",
    )
    load_window_s: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How long a load by a batch loader waits for others of its process to share the question.",
    )
    breaker_failures_max: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Failures of the loader in a row after which one process leaves its origin alone for a while; "
        "None: never.",
    )
    breaker_open_s: float = Field(
        default=1.0,
        gt=0,
        le=3600,
        description="Longest time it is left alone at first; doubles with every probe that fails, up to 8 times.",
    )

    @model_validator(mode="after")
    def _loading(self) -> Self:
        if self.soft_deadline_s is not None and self.stale_for_s is None:
            raise ValueError("soft_deadline_s: needs stale values to answer with; write stale_for_s too")
        return self
