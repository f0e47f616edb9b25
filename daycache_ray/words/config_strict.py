"""What all parts of the configuration have in common: they refuse unknown keys, and are immutable.

Refuses to know any field.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from daycache_ray.words.config_sources import explain
from daycache_ray.words.errors import ConfigError

NAME_PATTERN = r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$"


class Strict(BaseModel):
    """Refuses unknown keys, is immutable, and turns what pydantic says into a ConfigError."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise ConfigError(explain(type(self), error)) from None
