"""The kinds of value that settings have, and what an error says may be written for them."""

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
    """What may stand here, in words."""

    text: str


SECRET = object()
"""Field metadata: redacted wherever it is shown, and readable from a file of its own."""


def no_bool(value: Any) -> Any:
    """Refuse a truth value, which Python takes for a number."""
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "a truth value is no number")
    return value


def lower(value: Any) -> Any:
    """Text in lower case; anything else as it is."""
    return value.lower() if isinstance(value, str) else value


def absolute_path(value: Path) -> Path:
    """The path in full, with ~ as the home directory."""
    return value.expanduser().absolute()


def matching(pattern: str) -> AfterValidator:
    """A validator: the whole text matches."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise PydanticCustomError("pattern", "it has other characters in it")
        return value

    return AfterValidator(check)


def one_of(*words: str) -> Allowed:
    """Allowed words."""
    return Allowed("one of " + ", ".join(words))


Seconds = Annotated[
    float,
    BeforeValidator(no_bool),
    Field(gt=0, le=_YEAR_S, allow_inf_nan=False),
    Allowed("seconds, more than 0 and at most a year"),
]
WholeSeconds = Annotated[
    int,
    BeforeValidator(no_bool),
    Field(ge=1, le=_YEAR_S),
    Allowed("whole seconds, from 1 to a year"),
]
Level = Annotated[
    Literal["debug", "info", "warning", "error", "critical"],
    BeforeValidator(lower),
    one_of("debug", "info", "warning", "error", "critical"),
]
RateLimit = Annotated[
    str,
    matching(r"[1-9][0-9]{0,8}/(second|minute|hour|day)"),
    Allowed("a number of requests for each second, minute, hour or day, such as 100/second"),
]
Count = Annotated[
    int,
    BeforeValidator(no_bool),
    Field(ge=1, le=100_000),
    Allowed("a whole number from 1 to 100000"),
]


class Section(BaseModel):
    """A table of settings: frozen, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
