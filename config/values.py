"""The types of settings, with the description of their allowed values for error messages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

_YEAR_S = 31_536_000


@dataclass(frozen=True)
class Allowed:
    """The allowed values in words, for error messages."""

    text: str


SECRET = object()
"""Field metadata of a secret: redacted in messages, and readable from a file of its own."""


def refuse_boolean(value: Any) -> Any:
    """Refuse a boolean, which Python accepts as a number."""
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "a boolean is not a number")
    return value


def lower_case(value: Any) -> Any:
    """Return text in lower case, and any other value unchanged."""
    return value.lower() if isinstance(value, str) else value


def absolute_path(value: Path) -> Path:
    """Return the absolute path, with ~ expanded."""
    return value.expanduser().absolute()


def pattern_validator(pattern: str) -> AfterValidator:
    """Return a validator that requires the whole text to match a pattern."""
    compiled = re.compile(pattern)

    def check_pattern(value: str) -> str:
        if not compiled.fullmatch(value):
            raise PydanticCustomError("pattern", "contains other characters")
        return value

    return AfterValidator(check_pattern)


def allowed_words(*words: str) -> Allowed:
    """Describe a choice of words."""
    return Allowed("one of " + ", ".join(words))


Seconds = Annotated[
    float,
    BeforeValidator(refuse_boolean),
    Field(gt=0, le=_YEAR_S, allow_inf_nan=False),
    Allowed("seconds, more than 0 and at most a year"),
]
WholeSeconds = Annotated[
    int,
    BeforeValidator(refuse_boolean),
    Field(ge=1, le=_YEAR_S),
    Allowed("whole seconds, from 1 to a year"),
]
Level = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    BeforeValidator(lower_case),
    allowed_words("debug", "info", "warning", "error", "critical"),
]
RateLimit = Annotated[
    str,
    pattern_validator(r"[1-9][0-9]{0,8}/(second|minute|hour|day)"),
    Allowed("a number of requests for each second, minute, hour or day, such as 100/second"),
]
Count = Annotated[
    int,
    BeforeValidator(refuse_boolean),
    Field(ge=1, le=100_000),
    Allowed("a whole number from 1 to 100000"),
]


class Section(BaseModel):
    """A table of settings: frozen, without unknown settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")
