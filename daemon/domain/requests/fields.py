"""Readers of JSON text and of single JSON values, and `Faults`, which collects all faults.

A value is either malformed (not of the described form) or unsupported (well-formed, but outside the
allowed values); see docs/semantics.md#input-the-update_schedule-body. Every reader returns None for
an absent value and for a faulty one. The caller checks the faults before it uses any value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from daemon.domain.errors import InvalidInput
from daemon.domain.requests.datetimes import (
    DATE_FORM,
    DATETIME_FORM,
    describe_impossible,
    parse_date,
    parse_datetime,
)
from daemon.domain.schedule.timezones import is_zone
from daemon.domain.schedule.zone_hints import zone_hint

BLANK = "can't be blank"
_INFINITY = float("inf")
_EXACT_LENGTH = 16
"""Characters of a number without exponent that a double always keeps: 15 digits and a point."""
_MAX_SHOWN = 80
"""Maximum characters of a value in an error message."""
MAX_LISTED = 20
"""Maximum unknown fields, and about the maximum faulty items of an array, that one error names."""


def shown_value(value: object) -> str:
    """Return a caller's value for an error message: its repr, at most about 80 characters."""
    if isinstance(value, str) and len(value) > _MAX_SHOWN:
        value = value[: _MAX_SHOWN + 1]
    elif isinstance(value, (dict, list)) and len(value) > _MAX_SHOWN:
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)} entries"
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, deep nesting
        return f"of type {type(value).__name__} and too large to show"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."


class Faults:
    """The faults of a request by field path ("recurring_config.interval"), in reading order."""

    __slots__ = ("_malformed", "_unsupported")

    def __init__(self) -> None:
        self._malformed: dict[str, list[str]] = {}
        self._unsupported: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._malformed) + len(self._unsupported)

    def __contains__(self, path: str) -> bool:
        return path in self._malformed or path in self._unsupported

    def add_malformed(self, path: str, text: str) -> None:
        """Note a missing or malformed field; `text` follows the field's name."""
        self._malformed.setdefault(path, []).append(text)

    def add_unsupported(self, path: str, text: str) -> None:
        """Note a well-formed field with an unsupported value; `text` follows the field's name."""
        self._unsupported.setdefault(path, []).append(text)

    def add_malformed_of_unused(self, unused: Faults) -> frozenset[str]:
        """Add the malformed ones of the unused fields, and return the names of unsupported ones."""
        for path, texts in unused._malformed.items():
            self._malformed.setdefault(path, []).extend(texts)
        return frozenset(path.partition(".")[0] for path in unused._unsupported)

    def add_unknown_fields(
        self, fields: Mapping[Any, object], known: Collection[str], path: str = ""
    ) -> None:
        """Note every field that is not a known one."""
        if fields.keys() <= known:  # type: ignore[operator]
            return
        unknown = [name for name in fields if name not in known][:MAX_LISTED]
        for name in unknown:
            written = str(name)
            if len(written) > _MAX_SHOWN or not written.isprintable():
                written = shown_value(name)
            list_once = f", known are {', '.join(sorted(known))}" if name is unknown[-1] else ""
            self.add_malformed(path + written, f"is unknown{list_once}")

    def to_error(self, message: str, unsupported_status: int = 400) -> InvalidInput:
        """Return all faults as one error: 400 if any is malformed, else `unsupported_status`."""
        errors = dict(self._malformed)
        for path, texts in self._unsupported.items():
            errors[path] = errors.get(path, []) + texts
        status = 400 if self._malformed else unsupported_status
        return invalid_input(status, message, errors)


def invalid_input(status: int, message: str, errors: dict[str, list[str]]) -> InvalidInput:
    """Return an error whose detail joins the texts of its fields."""
    detail = "; ".join(f"{path} {text}" for path, texts in errors.items() for text in texts)
    return InvalidInput(status, message, detail, errors)


def require_object(body: object, message: str) -> dict[str, Any]:
    """Return a request body that is a JSON object.

    Raises:
        InvalidInput: 400 with `message` for any other value.
    """
    if not isinstance(body, dict):
        raise invalid_input(400, message, {"body": [f"is {shown_value(body)}, must be an object"]})
    return body


def read_choice(faults: Faults, path: str, value: object, allowed: Collection[str]) -> str | None:
    """Read one of a set of words, in its exact case."""
    if value is None:
        return None
    if not isinstance(value, str):
        faults.add_malformed(path, f"is {shown_value(value)}, must be one of {', '.join(allowed)}")
    elif value not in allowed:
        faults.add_unsupported(
            path, f"is {shown_value(value)}, must be one of {', '.join(allowed)}"
        )
    else:
        return value
    return None


def read_integer(faults: Faults, path: str, value: object, low: int, high: int) -> int | None:
    """Read a JSON integer within low..high; booleans and 1.0 are malformed."""
    if value is None:
        return None
    if type(value) is not int:
        faults.add_malformed(
            path, f"is {shown_value(value)}, must be an integer from {low} to {high}"
        )
    elif not low <= value <= high:
        faults.add_unsupported(path, f"is {shown_value(value)}, must be from {low} to {high}")
    else:
        return value
    return None


def read_boolean(faults: Faults, path: str, value: object) -> bool | None:
    """Read a JSON boolean."""
    if value is None or value is True or value is False:
        return value
    faults.add_malformed(path, f"is {shown_value(value)}, must be true or false")
    return None


def read_datetime(faults: Faults, path: str, value: object) -> datetime | None:
    """Read a datetime, naive or aware as written."""
    if value is None:
        return None
    written = parse_datetime(value) if isinstance(value, str) else None
    if written is None:
        faults.add_malformed(path, datetime_fault(value))
    return written


def datetime_fault(value: object, form: str = f"a datetime {DATETIME_FORM}") -> str:
    """Return the fault of a value that is no datetime: what does not exist, or the form."""
    impossible = describe_impossible(value) if isinstance(value, str) else None
    if impossible is not None:
        return f"is {shown_value(value)}, but {impossible}"
    return f"is {shown_value(value)}, must be {form}"


def read_end_date(faults: Faults, path: str, value: object) -> datetime | date | None:
    """Read a calendar date or a datetime."""
    if value is None:
        return None
    if isinstance(value, str):
        written = parse_date(value) or parse_datetime(value)
        if written is not None:
            return written
    form = f"a date {DATE_FORM} or a datetime {DATETIME_FORM}"
    faults.add_malformed(path, datetime_fault(value, form))
    return None


def read_zone(faults: Faults, path: str, value: object) -> str | None:
    """Read an IANA zone name in its exact case."""
    if value is None:
        return None
    if not isinstance(value, str):
        faults.add_malformed(path, f"is {shown_value(value)}, must be an IANA time zone name")
        return None
    if is_zone(value):
        return value
    text = f"is {shown_value(value)}, must be an IANA time zone name{zone_hint(value)}"
    faults.add_unsupported(path, text)
    return None


def read_object(faults: Faults, path: str, value: object) -> dict[str, Any] | None:
    """Read a JSON object."""
    if value is None or isinstance(value, dict):
        return value
    faults.add_malformed(path, f"is {shown_value(value)}, must be an object")
    return None


def read_array(faults: Faults, path: str, value: object, of: str) -> list[Any] | None:
    """Read a JSON array; `of` names the items in the error."""
    if value is None or isinstance(value, list):
        return value
    faults.add_malformed(path, f"is {shown_value(value)}, must be an array of {of}")
    return None


class NotJson(ValueError):
    """Text that Python's decoder accepts, but that is not JSON or cannot be stored."""


def strict_decoder(
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> json.JSONDecoder:
    """Return a decoder that raises NotJson for NaN, infinities and numbers that a double changes.

    Integers of any length stay exact; they need no double.
    """
    return json.JSONDecoder(
        parse_constant=_refuse_constant,
        parse_float=_parse_exact_double,
        object_pairs_hook=object_pairs_hook,
    )


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


def _parse_exact_double(text: str) -> float:
    number = float(text)
    if number in (_INFINITY, -_INFINITY):
        raise NotJson(f"the number {shown_value(text)} is too large")
    is_short = len(text) <= _EXACT_LENGTH and "e" not in text and "E" not in text
    if not is_short and not _is_written_in_full(text, number):
        kept = f"the nearest double is {number!r}"
        raise NotJson(
            f"the number {shown_value(text)} would be changed: {kept}; send it as a string"
        )
    return number


def _is_written_in_full(text: str, number: float) -> bool:
    """Return whether a number is written in full: in the shortest form, or in 17 digits.

    Programs write a double in one of these forms, and read the same double from both.
    """
    try:
        written = Decimal(text)
    except InvalidOperation:  # an exponent of 19 digits
        return False
    return written == Decimal(repr(number)) or written == Decimal(f"{number:.17g}")
