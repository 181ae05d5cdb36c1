"""Reading the fields of a JSON object, and saying everything that is wrong with them at once.

Two ways to be wrong (semantics section 3): malformed (not of the described form) and unsupported
(well-formed, but not a value there is). Every reader answers None for an absent field and for a
wrong one; the caller looks at the faults before it uses any value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from daemon.domain.errors import InvalidInput
from daemon.domain.requests.datetimes import DATE_FORM, DATETIME_FORM, parse_date, parse_datetime
from daemon.domain.schedule.timezones import is_zone, likely_zone

BLANK = "can't be blank"
_SHOWN_AT_MOST = 80
_LISTED_AT_MOST = 20


def shown(value: object) -> str:
    """A value from outside for use in an error: its repr, at most about 80 characters."""
    if isinstance(value, str) and len(value) > _SHOWN_AT_MOST:
        value = value[: _SHOWN_AT_MOST + 1]
    elif isinstance(value, (dict, list)) and len(value) > _SHOWN_AT_MOST:
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)} entries"
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, deep nesting
        return f"of type {type(value).__name__} and too large to show"
    return text if len(text) <= _SHOWN_AT_MOST else text[: _SHOWN_AT_MOST - 3] + "..."


class Faults:
    """What is wrong, by field path ("recurring_config.interval"), in the order found."""

    __slots__ = ("_malformed", "_unsupported")

    def __init__(self) -> None:
        self._malformed: dict[str, list[str]] = {}
        self._unsupported: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._malformed or self._unsupported)

    def __contains__(self, path: str) -> bool:
        return path in self._malformed or path in self._unsupported

    def malformed(self, path: str, text: str) -> None:
        """The field is missing or not of the described form; `text` follows its name."""
        self._malformed.setdefault(path, []).append(text)

    def unsupported(self, path: str, text: str) -> None:
        """The field is well-formed, but no such value exists; `text` follows its name."""
        self._unsupported.setdefault(path, []).append(text)

    def ignoring(self, unused: Faults) -> frozenset[str]:
        """Take over what is malformed in fields that are not used; those only unsupported."""
        for path, texts in unused._malformed.items():
            self._malformed.setdefault(path, []).extend(texts)
        return frozenset(path.partition(".")[0] for path in unused._unsupported)

    def unknown(self, fields: Mapping[Any, object], known: Collection[str], path: str = "") -> None:
        """Note every field that is not a known one."""
        if fields.keys() <= known:  # type: ignore[operator]
            return
        strange = [name for name in fields if name not in known]
        for name in strange[:_LISTED_AT_MOST]:
            written = str(name)
            if len(written) > _SHOWN_AT_MOST or not written.isprintable():
                written = shown(name)
            self.malformed(path + written, f"is unknown, known are {', '.join(sorted(known))}")

    def error(self, message: str, unsupported_status: int = 400) -> InvalidInput:
        """All faults as one error: 400 if anything is malformed, else `unsupported_status`."""
        errors = dict(self._malformed)
        for path, texts in self._unsupported.items():
            errors[path] = errors.get(path, []) + texts
        status = 400 if self._malformed else unsupported_status
        return invalid(status, message, errors)


def invalid(status: int, message: str, errors: dict[str, list[str]]) -> InvalidInput:
    """An error whose detail is made of its fields' texts."""
    detail = "; ".join(f"{path} {text}" for path, texts in errors.items() for text in texts)
    return InvalidInput(status, message, detail, errors)


def read_choice(faults: Faults, path: str, value: object, allowed: Collection[str]) -> str | None:
    """One of a set of words, in their exact case."""
    if value is None:
        return None
    if not isinstance(value, str):
        faults.malformed(path, f"is {shown(value)}, must be one of {', '.join(allowed)}")
    elif value not in allowed:
        faults.unsupported(path, f"is {shown(value)}, must be one of {', '.join(allowed)}")
    else:
        return value
    return None


def read_integer(faults: Faults, path: str, value: object, low: int, high: int) -> int | None:
    """A JSON integer within low..high; booleans and 1.0 are none."""
    if value is None:
        return None
    if type(value) is not int:
        faults.malformed(path, f"is {shown(value)}, must be an integer from {low} to {high}")
    elif not low <= value <= high:
        faults.unsupported(path, f"is {shown(value)}, must be from {low} to {high}")
    else:
        return value
    return None


def read_boolean(faults: Faults, path: str, value: object) -> bool | None:
    """A JSON boolean."""
    if value is None or value is True or value is False:
        return value
    faults.malformed(path, f"is {shown(value)}, must be true or false")
    return None


def read_datetime(faults: Faults, path: str, value: object) -> datetime | None:
    """A datetime, naive or aware as written."""
    if value is None:
        return None
    written = parse_datetime(value) if isinstance(value, str) else None
    if written is None:
        faults.malformed(path, f"is {shown(value)}, must be a datetime {DATETIME_FORM}")
    return written


def read_end_date(faults: Faults, path: str, value: object) -> datetime | date | None:
    """A calendar date or a datetime."""
    if value is None:
        return None
    if isinstance(value, str):
        written = parse_date(value) or parse_datetime(value)
        if written is not None:
            return written
    faults.malformed(
        path, f"is {shown(value)}, must be a date {DATE_FORM} or a datetime {DATETIME_FORM}"
    )
    return None


def read_zone(faults: Faults, path: str, value: object) -> str | None:
    """An IANA zone name in its exact case."""
    if value is None:
        return None
    if not isinstance(value, str):
        faults.malformed(path, f"is {shown(value)}, must be an IANA time zone name")
        return None
    if is_zone(value):
        return value
    likely = likely_zone(value)
    meant = f"; did you mean {likely}?" if likely else ", such as America/New_York or UTC"
    faults.unsupported(path, f"is {shown(value)}, must be an IANA time zone name{meant}")
    return None


def read_object(faults: Faults, path: str, value: object) -> dict[str, Any] | None:
    """A JSON object."""
    if value is None or isinstance(value, dict):
        return value
    faults.malformed(path, f"is {shown(value)}, must be an object")
    return None


def read_array(faults: Faults, path: str, value: object, of: str) -> list[Any] | None:
    """A JSON array; `of` says of what, for the error."""
    if value is None or isinstance(value, list):
        return value
    faults.malformed(path, f"is {shown(value)}, must be an array of {of}")
    return None
