"""A shared calendar from the public holidays of a country, by the package `holidays`.

The API and the command that fill a calendar with holidays will call `read_holidays`, and so will
whatever extends such a calendar by another year. The package is the extra `campaignd[holidays]`, so
it is imported only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, NamedTuple

from daemon.domain.errors import Refused
from daemon.domain.requests.calendar_body import INVALID_CALENDAR, LONGEST_LABEL
from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.fields import Faults, require_object, shown_value
from daemon.domain.requests.forms import array_form, integer_form, text_form
from daemon.domain.requests.send_window import read_calendar_name
from daemon.domain.schedule.calendars import Calendar, Closure

_YEAR = integer_form(1970, 2100)
_WORD = text_form(50)
MOST_YEARS = 20


class HolidaysConfig(NamedTuple):
    """The public holidays of a country, from one year to another."""

    country: str = declare_field(_WORD, required=True, doc="ISO 3166-1 code, such as US.")
    from_: int = declare_field(_YEAR, required=True, doc="The first year.")
    to: int = declare_field(_YEAR, required=True, doc="The last year.")
    subdivision: str | None = declare_field(_WORD, doc="Such as CA.")
    categories: tuple[str, ...] = declare_field(
        array_form(_WORD, "categories", 10), default=(), doc="Default: the country's own, public."
    )
    language: str | None = declare_field(_WORD, doc="Of the labels, such as en_US.")


def _check_years(faults: Faults, path: str, config: HolidaysConfig) -> None:
    if not config.from_ <= config.to < config.from_ + MOST_YEARS:
        last = config.from_ + MOST_YEARS - 1
        faults.add_unsupported("to", f"is {config.to}, must be from {config.from_} to {last}")


HOLIDAYS = Body(HolidaysConfig, check=_check_years)


def read_holidays(name: str, body: object) -> Calendar:
    """Return a floating calendar called `name`, closed on the holidays of a country.

    Raises:
        InvalidInput: 400 with all faults.
        Refused: 501 where the package `holidays` is not installed.
    """
    faults = Faults()
    read_calendar_name(faults, "name", name)
    config = HOLIDAYS.read_fields(faults, require_object(body, INVALID_CALENDAR))
    if faults:
        raise faults.to_error(INVALID_CALENDAR)
    try:
        import holidays
    except ImportError:
        detail = "holidays is not installed; install campaignd[holidays]"
        raise Refused(detail, status=501, message="No public holidays") from None
    try:
        known = holidays.country_holidays(config.country)
    except NotImplementedError:
        text = f"is {shown_value(config.country)}, must be an ISO 3166-1 code of a known country"
        faults.add_unsupported("country", text)
        raise faults.to_error(INVALID_CALENDAR) from None
    _check_choice(faults, "subdivision", config.subdivision, known.subdivisions)
    _check_choice(faults, "language", config.language, known.supported_languages)
    for place, category in enumerate(config.categories):
        _check_choice(faults, f"categories[{place}]", category, known.supported_categories)
    if faults:
        raise faults.to_error(INVALID_CALENDAR)
    found: Any = holidays.country_holidays(
        config.country,
        subdiv=config.subdivision,
        years=range(config.from_, config.to + 1),
        language=config.language,
        categories=config.categories or None,
    )
    # A year's holidays may be observed in another one, which the calendar does not cover.
    closed = tuple(
        Closure(day, day, label[:LONGEST_LABEL])
        for day, label in sorted(found.items())
        if config.from_ <= day.year <= config.to
    )
    return Calendar(name, closed, covers_to=date(config.to, 12, 31))


def _check_choice(faults: Faults, path: str, value: str | None, allowed: Collection[str]) -> None:
    if value is not None and value not in allowed:
        words = f"one of {', '.join(sorted(allowed))}" if allowed else "absent for this country"
        faults.add_unsupported(path, f"is {shown_value(value)}, must be {words}")
