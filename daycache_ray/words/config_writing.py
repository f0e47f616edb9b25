"""What a region says about writing its origin: by whom, at once or later, and for how long it tries.

docs/writers.md has the fields beside what they promise.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, Field, field_validator, model_validator
from typing_extensions import Self

PLACE_PATTERN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class WritingFields(BaseModel):
    """Fields of RegionConfig about its writer."""

    writer: Any = Field(
        default=None,
        description="What writes change in the origin: an object with write or write_many, a callable of key and "
        "value, or 'package.module:name'. Alone it means write-through.",
    )
    write_behind_s: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Write-behind: writes are acknowledged by the cache, and reach the origin so much later at most "
        "while it keeps up. Needs writer.",
    )
    write_deadline_s: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="How long one call of the writer may take.",
    )

    @field_validator("writer")
    @classmethod
    def _writer(cls, value: Any) -> Any:
        if isinstance(value, str):
            if not PLACE_PATTERN.fullmatch(value):
                raise ValueError(f"{value!r} names no object; write 'package.module:name'")
        elif value is not None and not (callable(value) or hasattr(value, "write") or hasattr(value, "write_many")):
            raise ValueError(
                f"{type(value).__name__!r} cannot write; give an object with write or write_many, a callable of key "
                "and value, or 'package.module:name'"
            )
        return value

    @model_validator(mode="after")
    def _writing(self) -> Self:
        if self.write_behind_s is not None and self.writer is None:
            raise ValueError("write_behind_s: needs a writer; name one, or leave it out")
        return self

    @property
    def writes_through(self) -> bool:
        """Whether a write changes the origin before the cache."""
        return self.writer is not None and self.write_behind_s is None

    @property
    def writes_behind(self) -> bool:
        """Whether a write changes the cache first and the origin later."""
        return self.writer is not None and self.write_behind_s is not None
