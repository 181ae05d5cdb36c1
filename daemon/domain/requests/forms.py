"""Forms of JSON values: how a value is read, and the JSON schema that describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

from daemon.domain.requests import fields
from daemon.domain.requests.datetimes import (
    DATETIME_PATTERN,
    END_DATE_PATTERN,
    INSTANT_FORM,
    INSTANT_PATTERN,
    MAX_LENGTH,
    parse_instant,
)
from daemon.domain.requests.fields import BLANK, Faults

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
JsonSchema = dict[str, Any]


class Form(NamedTuple, Generic[T]):
    """One kind of JSON value: its reader and its schema."""

    read: Callable[[Faults, str, Any], T | None]
    """Returns None after noting a fault. Never called for null."""
    schema: JsonSchema
    well_formed: JsonSchema | None = None
    """The schema of all well-formed values, where some of them are unsupported."""


def choice_form(words: Mapping[str, T]) -> Form[T]:
    """Return the form of a word in its exact case; the reader returns the value of that word."""

    def read_word(faults: Faults, path: str, value: object) -> T | None:
        if isinstance(value, str) and value in words:
            return words[value]
        fields.read_choice(faults, path, value, words)
        return None

    return Form(read_word, {"type": "string", "enum": list(words)}, {"type": "string"})


def enum_form(enum: type[E]) -> Form[E]:
    """Return the form of an enumeration's values."""
    return choice_form({each.value: each for each in enum})


def integer_form(low: int, high: int) -> Form[int]:
    """Return the form of a JSON integer within low..high."""
    return Form(
        lambda faults, path, value: fields.read_integer(faults, path, value, low, high),
        {"type": "integer", "minimum": low, "maximum": high},
        {"type": "integer"},
    )


def text_form(limit: int, *, printable: bool = False) -> Form[str]:
    """Return the form of text of 1 to `limit` characters."""
    kind = "printable characters" if printable else "characters"

    def read_text(faults: Faults, path: str, value: object) -> str | None:
        if value == "":
            faults.add_malformed(path, BLANK)
        elif (
            not isinstance(value, str)
            or len(value) > limit
            or (printable and not value.isprintable())
        ):
            faults.add_malformed(path, f"must be text of at most {limit} {kind}")
        else:
            return value
        return None

    return Form(read_text, {"type": "string", "minLength": 1, "maxLength": limit})


def pattern_schema(pattern: str, **annotations: Any) -> JsonSchema:
    """Return the schema of text that matches a regular expression as a whole."""
    return {"type": "string", "pattern": f"^{pattern}$", **annotations}


def empty_as_missing(form: Form[T]) -> Form[T]:
    """Return the form with another fault for empty text: missing instead of malformed."""

    def read_unless_empty(faults: Faults, path: str, value: object) -> T | None:
        if value == "":
            faults.add_malformed(path, BLANK)
            return None
        return form.read(faults, path, value)

    return form._replace(read=read_unless_empty)


def unread_form(schema: JsonSchema) -> Form[Any]:
    """Return the form of a value that the caller reads, or that remains unread."""
    return Form(lambda _faults, _path, value: value, schema)


def _read_instant(faults: Faults, path: str, value: object) -> datetime | None:
    written = parse_instant(value) if isinstance(value, str) else None
    if written is None:
        faults.add_malformed(
            path, f"is {fields.shown_value(value)}, must be an instant {INSTANT_FORM}"
        )
    return written


BOOLEAN = Form(fields.read_boolean, {"type": "boolean"})
DATETIME = Form(
    fields.read_datetime,
    pattern_schema(
        DATETIME_PATTERN,
        maxLength=MAX_LENGTH,
        examples=["2031-07-01T09:00:00"],
        description="YYYY-MM-DDTHH:MM[:SS[.fraction]], with optional Z, +HH:MM or +HHMM. With an "
        "offset it is that instant, without one wall-clock time in the schedule's zone.",
    ),
)
INSTANT = Form(
    _read_instant,
    pattern_schema(
        INSTANT_PATTERN,
        maxLength=MAX_LENGTH,
        examples=["2031-07-01T09:00:00Z"],
        description=f"{INSTANT_FORM}.",
    ),
)
END_DATE = Form(
    fields.read_end_date,
    pattern_schema(
        END_DATE_PATTERN,
        maxLength=MAX_LENGTH,
        examples=["2031-12-31"],
        description="A date, inclusive by local date, or a datetime, an inclusive instant.",
    ),
)
ZONE = Form(
    fields.read_zone,
    {
        "type": "string",
        "minLength": 1,
        "examples": ["America/New_York", "Europe/London", "UTC"],
        "description": "IANA time zone name, in its exact case.",
    },
)
