"""A schedule as an English phrase, such as "every second Monday at 09:00 in Paris".

The phrase is for readers and is never read back. It states everything that decides the
occurrences, so that a test can list the dates from the phrase alone and compare them with
`Schedule.occurrences`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from daemon.domain.schedule.daylight_saving import DaylightSaving, Fold, Gap
from daemon.domain.schedule.recurrence import Frequency, Rule, Skip, next_match
from daemon.domain.schedule.schedule import Kind, Schedule
from daemon.domain.schedule.timezones import local_time

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
)  # fmt: skip
_REGIONS = frozenset(
    {
        "Africa", "America", "Antarctica", "Arctic", "Asia",
        "Atlantic", "Australia", "Europe", "Indian", "Pacific",
    }
)  # fmt: skip
_UTC_NAMES = frozenset({"UTC", "Etc/UTC"})
_UNITS = {Frequency.DAILY: "day", Frequency.WEEKLY: "week", Frequency.MONTHLY: "month"}
_LENGTHS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_ANY_DAY = (1, 2, 3, 4, 5, 6, 7)
_LONGEST_MONTH = 31


def schedule_in_words(schedule: Schedule, now: datetime | None = None) -> str:
    """Return the phrase for a schedule.

    Args:
        schedule: the schedule.
        now: an aware instant. With it, the phrase is shorter: dates of the current year have no
            year, and a start that decides no coming occurrence is left out. Without it, the phrase
            of a schedule never changes.
    """
    local_now = None if now is None else local_time(now.astimezone(UTC), schedule.timezone)
    place = zone_in_words(schedule.timezone)
    if schedule.kind is Kind.ONCE:
        at = schedule.anchor_local
        day = f"{WEEKDAYS[at.weekday()]} {_date_text(at.date(), local_now)}"
        return f"once on {day} at {_time_text(at.time())} {place}"
    if schedule.rule is not None:
        time_of_day = f"at {_time_text(schedule.rule.time)} {place}"
        phrase = f"{_dates_in_words(schedule.rule)} {time_of_day}"
        start = _first_date_in_words(schedule.rule, local_now)
    else:
        every = schedule.every_seconds
        phrase = f"every {_length_in_words(every)}" if every else "open"
        start = f" from {_moment_text(schedule.anchor_local, local_now)} {place}"
    if schedule.kind is Kind.WINDOW and schedule.rule is not None:
        # The first run is at the start of the window, and so is its time of day.
        start = f", from {_moment_text(schedule.anchor_local, local_now)}"
    return phrase + start + _end_in_words(schedule, local_now) + _policy_in_words(schedule.dst)


def zone_in_words(name: str) -> str:
    """Return a time zone as a place, such as "in New York"; UTC has no place."""
    if name in _UTC_NAMES:
        return "UTC"
    region, _, place = name.partition("/")
    if region not in _REGIONS or not place:
        return f"in {name}"
    return f"in {place.rpartition('/')[2].replace('_', ' ')}"


def _dates_in_words(rule: Rule) -> str:
    """Return the dates of a rule, without the first one."""
    if rule.frequency is Frequency.MONTHLY:
        return f"on {_month_days_in_words(rule)}"
    days = () if rule.weekdays == _ANY_DAY else rule.weekdays
    every = _every_in_words(rule.interval, _UNITS[rule.frequency])
    if rule.interval == 1:
        return _weekdays_in_words(days) if days else "every day"
    if rule.frequency is Frequency.DAILY:
        return f"{every}, only on {_list_in_words(_names(days))}," if days else every
    if len(days) == 1:
        return _every_in_words(rule.interval, WEEKDAYS[days[0] - 1])
    names = _list_in_words(_names(days)) if days else "every day"
    return f"{'on ' if days else ''}{names} of {every}"


def _weekdays_in_words(days: tuple[int, ...]) -> str:
    is_row = len(days) > 2 and days[-1] - days[0] == len(days) - 1
    if is_row:
        return f"{WEEKDAYS[days[0] - 1]} to {WEEKDAYS[days[-1] - 1]}"
    return f"every {_list_in_words(_names(days))}"


def _month_days_in_words(rule: Rule) -> str:
    months = _every_in_words(rule.interval, "month")
    backward = rule.skip is Skip.BACKWARD
    if rule.nth is not None:
        # In a month without a fifth weekday the last one counts; a fifth one is the last as well.
        which = "last" if rule.nth == 5 and backward else _ORDINALS[rule.nth - 1]
        days = _list_in_words([f"the {which} {day}" for day in _names(rule.weekdays)])
        can_lack = rule.nth == 5 and not backward
    else:
        day = rule.month_day or 1
        if day == _LONGEST_MONTH and backward:
            return f"the last day of {months}"
        if day > 28 and backward:
            return f"the {_numeral(day)} of {months} (in a shorter month, its last day)"
        days, can_lack = f"the {_numeral(day)}", day > 28
    return f"{days} of {months}" + (" that has it" if can_lack else "")


def _first_date_in_words(rule: Rule, now: datetime | None) -> str:
    """Return the first occurrence's date, unless it has passed or follows from the rest."""
    first = rule.first_on
    if now is not None:
        if datetime.combine(first, rule.time) <= now:
            return ""
        if rule.interval == 1:
            tomorrow = timedelta(days=rule.time <= now.time())
            earliest = now.toordinal() + tomorrow.days
            unanchored = rule._replace(first_on=date.fromordinal(earliest))
            if next_match(unanchored, earliest) == first.toordinal():
                return ""
    return f", from {_date_text(first, now)}"


def _end_in_words(schedule: Schedule, now: datetime | None) -> str:
    if schedule.ends_on is not None:
        return f", until {_date_text(schedule.ends_on, now)}"
    if schedule.ends_at is None:
        return ""
    end = local_time(schedule.ends_at, schedule.timezone)
    return "" if end is None else f", until {_moment_text(end, now)}"


def _policy_in_words(policy: DaylightSaving | None) -> str:
    """Return what a clock change does, where that is not the default."""
    words = ""
    if policy is not None and policy.gap is not Gap.SHIFT:
        moved = "sent earlier" if policy.gap is Gap.BEFORE else "left out"
        words += f"; a time that the clocks skip is {moved}"
    if policy is not None and policy.fold is not Fold.FIRST:
        passes = "its second pass" if policy.fold is Fold.SECOND else "both its passes"
        words += f"; a time that the clocks repeat means {passes}"
    return words


def _every_in_words(interval: int, unit: str) -> str:
    if interval == 1:
        return f"every {unit}"
    short = interval <= len(_ORDINALS)
    return f"every {_ORDINALS[interval - 1] if short else _numeral(interval)} {unit}"


def _length_in_words(seconds: int) -> str:
    """Return a whole length of time in its largest unit, such as "5 minutes"."""
    size, unit = next(pair for pair in _LENGTHS if seconds % pair[0] == 0)
    count = seconds // size
    return unit if count == 1 else f"{count} {unit}s"


def _names(days: Sequence[int]) -> list[str]:
    return [WEEKDAYS[day - 1] for day in days]


def _list_in_words(words: Sequence[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def _numeral(number: int) -> str:
    """Return an ordinal in digits, such as 21st."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"


def _date_text(day: date, now: datetime | None) -> str:
    year = "" if now is not None and now.year == day.year else f" {day.year}"
    return f"{day.day} {MONTHS[day.month - 1]}{year}"


def _moment_text(local: datetime, now: datetime | None) -> str:
    return f"{_date_text(local.date(), now)} at {_time_text(local.time())}"


def _time_text(at: time) -> str:
    return at.isoformat("auto" if at.second or at.microsecond else "minutes")
