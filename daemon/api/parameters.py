"""Query parameters: those that lists share, their instants, and the refusal of unknown ones."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import WithJsonSchema
from starlette.requests import Request

from daemon.domain.errors import InvalidInput
from daemon.domain.requests.datetimes import parse_date_or_instant
from daemon.domain.requests.fields import MAX_LISTED, datetime_fault, invalid_input, shown_value
from daemon.domain.schedule.timezones import is_zone
from daemon.domain.schedule.zone_hints import zone_hint

MESSAGE = "Invalid parameters"
TEXT_LIMIT = 200
_STORABLE = r"^[^\x00]+$"
_FORM = "a date, or an instant such as 2031-07-01T09:00:00Z"
_SYNONYMS = {
    "after": "from",
    "end": "before",
    "name": "q",
    "offset": "cursor",
    "page": "cursor",
    "page_size": "limit",
    "per_page": "limit",
    "query": "q",
    "search": "q",
    "since": "from",
    "size": "limit",
    "start": "from",
    "state": "status",
    "timezone": "tz",
    "to": "before",
    "until": "before",
}
"""The names that other interfaces give these parameters."""

Text = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=TEXT_LIMIT,
        pattern=_STORABLE,
        description="Only campaigns whose name contains this text in either case, or whose id or "
        "uuid it is; the beginning of a uuid is enough.",
    ),
]
Label = Annotated[str | None, Query(max_length=TEXT_LIMIT, pattern=_STORABLE)]
TargetName = Annotated[
    str | None,
    Query(max_length=TEXT_LIMIT, pattern=_STORABLE, description="Only campaigns of this target."),
]


_INSTANT = {"type": "string", "maxLength": TEXT_LIMIT, "examples": ["2031-07-01T09:00:00Z"]}
RunsSince = Annotated[
    str | None,
    WithJsonSchema(_INSTANT),
    Query(
        alias="from",
        description="Only runs that were claimed at or after it: a date (00:00 UTC) or an instant.",
    ),
]
RunsBefore = Annotated[
    str | None,
    WithJsonSchema(_INSTANT),
    Query(
        alias="before",
        description="Only runs that were claimed before it: a date (00:00 UTC) or an instant.",
    ),
]
NextRunSince = Annotated[
    str | None,
    WithJsonSchema(_INSTANT),
    Query(
        alias="from",
        description="Only campaigns whose next run is at or after it: a date "
        "(00:00 UTC) or an instant.",
    ),
]
NextRunBefore = Annotated[
    str | None,
    WithJsonSchema(_INSTANT),
    Query(
        alias="before",
        description="Only campaigns whose next run is before it: a date (00:00 UTC) or an instant.",
    ),
]
Since = Annotated[
    str | None,
    WithJsonSchema(_INSTANT),
    Query(
        alias="from", description="Only what is at or after it: a date (00:00 UTC) or an instant."
    ),
]
Before = Annotated[
    str | None,
    WithJsonSchema(_INSTANT),
    Query(alias="before", description="Only what is before it: a date (00:00 UTC) or an instant."),
]
Zone = Annotated[
    str, Query(max_length=64, description="IANA time zone of the local times in the response.")
]


def parse_instant_parameter(name: str, text: str | None) -> datetime | None:
    """Return the instant that a parameter names; None without it. Raises InvalidInput (400)."""
    if text is None:
        return None
    at = parse_date_or_instant(text)
    if at is None:
        raise invalid_parameter(name, datetime_fault(text, _FORM))
    return at


def parse_zone_parameter(name: str, text: str) -> str:
    """Return the time zone that a parameter names. Raises InvalidInput (400)."""
    if not is_zone(text):
        fault = f"is {shown_value(text)}, must be an IANA time zone name{zone_hint(text)}"
        raise invalid_parameter(name, fault)
    return text


def invalid_parameter(name: str, fault: str) -> InvalidInput:
    """Return the error of one parameter."""
    return invalid_input(400, MESSAGE, {name: [fault]})


async def refuse_unknown_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not have, and those that are given twice.

    A filter that is misspelt would otherwise select everything.

    Raises:
        InvalidInput: 400 with each such parameter, and a suggestion.
    """
    given = request.query_params.multi_items()
    if not given:
        return
    known = _parameter_names(request.scope["route"])
    errors: dict[str, list[str]] = {}
    names = [name for name, _ in given]
    unknown = ""
    for name in dict.fromkeys(names):
        if len(errors) == MAX_LISTED:
            break
        shown = name if len(name) <= 80 and name.isprintable() else shown_value(name)
        if name not in known:
            unknown = shown
            errors[shown] = [f"is unknown{_suggestion(name, known)}"]
        elif names.count(name) > 1:
            errors[shown] = ["is given twice"]
    if unknown and known:
        errors[unknown][0] += f"; known are {', '.join(known)}"
    if errors:
        raise invalid_input(400, MESSAGE, errors)


def _parameter_names(route: Any) -> tuple[str, ...]:
    return tuple(sorted(parameter.alias for parameter in route.dependant.query_params))


def _suggestion(name: str, known: tuple[str, ...]) -> str:
    if not known:
        return "; this call has no query parameters"
    synonym = _SYNONYMS.get(name.lower())
    likely = [synonym] if synonym in known else difflib.get_close_matches(name.lower()[:80], known)
    return f", did you mean {likely[0]}?" if likely else ""
