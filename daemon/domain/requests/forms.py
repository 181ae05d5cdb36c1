"""Forms of JSON values: how a value is read, and the JSON schema that describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

from daemon.domain.requests import fields
from daemon.domain.requests.datetimes import (
    DATE_FORM,
    DATE_PATTERN,
    DATETIME_PATTERN,
    END_DATE_PATTERN,
    INSTANT_FORM,
    INSTANT_PATTERN,
    MAX_LENGTH,
    parse_date,
    parse_instant,
)
from daemon.domain.requests.fields import BLANK, Faults

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
JsonSchema = dict[str, Any]
TIME_PATTERN = "([01][0-9]|2[0-3]):([0-5][0-9])"
_time_of_day = re.compile(TIME_PATTERN).fullmatch


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


def read_entries(
    faults: Faults, path: str, value: object, name: str, least: int, most: int
) -> list[tuple[int, Any]] | None:
    """Return the places and values of an array, without those that are null; or None.

    `name` is what the values are called in a fault.
    """
    given = fields.read_array(faults, path, value, name)
    if given is None:
        return None
    if len(given) < least:
        faults.add_malformed(path, f"is empty, must hold 1 to {most} {name}")
    elif len(given) > most:
        faults.add_unsupported(path, f"has {len(given)} entries, must hold at most {most} {name}")
    else:
        if None in given:
            faults.add_malformed(f"{path}[{given.index(None)}]", BLANK)
        return [(place, each) for place, each in enumerate(given) if each is not None]
    return None


def array_form(form: Form[T], name: str, most: int) -> Form[tuple[T, ...]]:
    """Return the form of an array of at most `most` values; `name` is what they are called."""

    def read(faults: Faults, path: str, value: object) -> tuple[T, ...] | None:
        given = read_entries(faults, path, value, name, 0, most)
        if given is None:
            return None
        found = (form.read(faults, f"{path}[{place}]", each) for place, each in given)
        return tuple(each for each in found if each is not None)

    return Form(read, {"type": "array", "maxItems": most, "items": form.schema})


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


def _read_weekdays(faults: Faults, path: str, value: object) -> tuple[int, ...] | None:
    days = fields.read_array(faults, path, value, "weekdays 1 to 7, Monday is 1")
    if days is None:
        return None
    if not days:
        faults.add_malformed(path, "is empty, must name at least one weekday from 1 (Monday) to 7")
    elif not all(type(day) is int and 1 <= day <= 7 for day in days):
        faults.add_malformed(
            path, f"is {fields.shown_value(days)}, must hold weekdays 1 to 7, Monday is 1"
        )
    else:
        return tuple(sorted(set(days)))
    return None


def _read_time(faults: Faults, path: str, value: object) -> time | None:
    written = _time_of_day(value) if isinstance(value, str) else None
    if written is None:
        text = f"is {fields.shown_value(value)}, must be HH:MM from 00:00 to 23:59"
        faults.add_malformed(path, text)
        return None
    return time(int(written[1]), int(written[2]))


def _read_date(faults: Faults, path: str, value: object) -> date | None:
    day = parse_date(value) if isinstance(value, str) else None
    if day is None:
        faults.add_malformed(path, fields.datetime_fault(value, f"a date {DATE_FORM}"))
    return day


WEEKDAYS = Form(
    _read_weekdays,
    {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 7}},
)
TIME = Form(_read_time, pattern_schema(TIME_PATTERN, examples=["09:00"]))
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
DATE = Form(_read_date, pattern_schema(DATE_PATTERN, examples=["2031-12-24"]))
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
