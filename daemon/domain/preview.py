"""Preview: each case gets one answer, and nothing is saved (docs/semantics.md#occurrences).

Every line of input gets an answer. The answer to an unreadable line is an object with an error, and
with the line's `id` if that can be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from daemon.domain.campaign.model import Snapshot, run_id
from daemon.domain.errors import CampaigndError, InvalidInput
from daemon.domain.formatting import utc_text
from daemon.domain.requests import (
    BodyContext,
    is_schedule_body,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.requests.calendar_body import read_calendar
from daemon.domain.requests.context import ParsedSchedule
from daemon.domain.requests.datetimes import parse_datetime, resolve_datetime
from daemon.domain.requests.fields import (
    BLANK,
    Faults,
    NotJson,
    datetime_fault,
    read_choice,
    read_integer,
    read_object,
    read_zone,
    shown_value,
    strict_decoder,
)
from daemon.domain.requests.notes import affected_by_clock_changes, notes_on
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.gate import gate_of
from daemon.domain.schedule.gated_occurrences import GatedOccurrence, gated_occurrences
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.schedule.timezones import is_zone, zone
from daemon.domain.schedule.words import schedule_in_words

LONGEST_LINE = 256 * 1024
"""Maximum bytes of a line."""
MOST_OCCURRENCES = 10_000
_CASE_FIELDS = frozenset({"id", "after", "count", "campaign", "schedule", "calendars"})
_CAMPAIGN_FIELDS = frozenset(
    {"id", "uuid", "name", "type", "status", "timezone", "target", "payload"}
)
_TYPES = {kind.value: kind for kind in CampaignType}
_NOT_A_CASE = "Invalid preview case"
_WHITESPACE = re.compile(r"[ \t\r\n]*")

Answer = dict[str, Any]


def _integer_or_none(digits: str) -> int | None:
    try:
        return int(digits)
    except ValueError:  # Python's limit on the length of integers
        return None


_strict = strict_decoder()
_lenient = json.JSONDecoder(parse_int=_integer_or_none)


def preview_line(raw: bytes, line: int, now: datetime) -> Answer:
    """Return the answer to one line; `line`, its number from 1, is for unreadable lines."""
    if len(raw.rstrip(b"\r\n")) > LONGEST_LINE:
        text = raw[:LONGEST_LINE].decode("utf-8", "surrogateescape")
        return _unreadable_line(text, line, f"line is longer than {LONGEST_LINE} bytes", 413)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        text = raw.decode("utf-8", "surrogateescape")
        return _unreadable_line(text, line, f"line is not UTF-8 at byte {error.start}")
    if text.startswith("\ufeff"):
        text = text[1:]
    if not text.strip(" \t\r\n"):
        return _unreadable_line("", line, "line is empty")
    try:
        case = _strict.decode(text)
    except RecursionError:
        return _unreadable_line(text, line, "line is nested too deeply")
    except json.JSONDecodeError as error:
        return _unreadable_line(
            text, line, f"line is not JSON: {error.msg} at column {error.colno}"
        )
    except NotJson as error:
        return _unreadable_line(text, line, f"line is not JSON: {error}")
    except ValueError:
        return _unreadable_line(text, line, "line is not JSON: an integer has too many digits")
    if not isinstance(case, dict):
        return _error_answer(None, 400, f"line is {shown_value(case)}, must be an object", line)
    # The bytes were UTF-8, so only an escape can have produced a lone surrogate.
    if "\\u" in text and not _is_json_writable(case):
        return _error_answer(
            _json_writable_or_none(case.get("id")), 400, "line has a lone surrogate in it", line
        )
    answer = preview_case(case, now)
    if isinstance(answer["id"], (dict, list)) and not _is_json_writable(answer["id"]):
        return _error_answer(None, 400, "line is nested too deeply", line)
    return answer


def preview_case(case: object, now: datetime) -> Answer:
    """Return the answer to one parsed case; `now` is aware, and replaces an absent `after`."""
    if not isinstance(case, dict):
        return _error_answer(None, 400, f"case is {shown_value(case)}, must be an object")
    identity = case.get("id")
    try:
        return _answer_case(case, identity, now)
    except InvalidInput as error:
        message = error.detail
        if error.message != _NOT_A_CASE:
            message = f"{error.message}: {message}"
        return _error_answer(identity, error.status, message)
    except CampaigndError as error:
        return _error_answer(identity, error.status, error.detail)
    except RecursionError:
        return _error_answer(identity, 400, "case is nested too deeply")


def _answer_case(case: dict[str, Any], identity: object, now: datetime) -> Answer:
    faults = Faults()
    faults.add_unknown_fields(case, _CASE_FIELDS)
    count = read_integer(faults, "count", case.get("count"), 1, MOST_OCCURRENCES)
    body = read_object(faults, "schedule", case.get("schedule"))
    if body is None and "schedule" not in faults:
        faults.add_malformed("schedule", BLANK)
    word, timezone, uuid = None, "UTC", None
    if campaign := read_object(faults, "campaign", case.get("campaign")):
        faults.add_unknown_fields(campaign, _CAMPAIGN_FIELDS, "campaign.")
        word = read_choice(faults, "campaign.type", campaign.get("type"), _TYPES)
        timezone = read_zone(faults, "campaign.timezone", campaign.get("timezone")) or timezone
        uuid = _read_uuid(campaign.get("uuid"))
    calendars = read_object(faults, "calendars", case.get("calendars")) or {}
    after = case.get("after")
    if after is not None:
        now = _read_after(faults, after, body, timezone) or now
    if faults or body is None:
        raise faults.to_error(_NOT_A_CASE)
    if word is not None:
        campaign_type = _TYPES[word]
    elif body.get("repeating_schedule_attributes") is not None:
        campaign_type = CampaignType.RECURRING
    else:
        campaign_type = CampaignType.ONE_TIME
    known = {name: read_calendar(name, value) for name, value in calendars.items()}
    ctx = BodyContext(now, campaign_type, timezone, calendars=known)
    saved = read_schedule_body(body, ctx) if is_schedule_body(body) else read_update_body(body, ctx)
    return {"id": identity, **occurrences_answer(saved, now, count or 10, known, uuid)}


def occurrences_answer(
    saved: ParsedSchedule,
    after: datetime,
    count: int,
    calendars: Mapping[str, Calendar],
    campaign_uuid: UUID | None = None,
) -> Answer:
    """Return the answer's instants: the next `count` runs, and a window's two ends.

    With conditions, `runs` says of each occurrence when it is due, and what becomes of it.
    """
    schedule = saved.schedule
    if schedule is None:
        return {"occurrences": []}
    answer: Answer = {"occurrences": [utc_text(at) for at in schedule.occurrences(after, count)]}
    if schedule.has_conditions:
        gate = gate_of(schedule, calendars)
        answer["runs"] = [
            _run_answer(each, campaign_uuid)
            for each in gated_occurrences(schedule, gate, after, count)
        ]
    if affected := affected_by_clock_changes(schedule, after):
        answer["dst_affected"] = affected
    if saved.campaign_type.is_window:
        answer["launch_at"] = utc_text(schedule.anchor_at)
        answer["complete_at"] = None if schedule.ends_at is None else utc_text(schedule.ends_at)
    return answer


def campaign_answer(saved: ParsedSchedule, snapshot: Snapshot, count: int) -> Answer:
    """Return the answer for a body of a campaign, in words too, with notes where there are any."""
    answer = occurrences_answer(
        saved, snapshot.now, count, snapshot.calendars, snapshot.campaign.uuid
    )
    answer["summary"] = saved.schedule and schedule_in_words(saved.schedule)
    notes = notes_on(saved, snapshot.current)
    return {**answer, "notes": notes} if notes else answer


def _run_answer(each: GatedOccurrence, campaign_uuid: UUID | None) -> Answer:
    answer: Answer = {
        "scheduled_for": utc_text(each.scheduled_for),
        "due_at": utc_text(each.due_at),
        "outcome": each.disposition,
        "why": each.why,
        "local": each.local.isoformat(),
    }
    if campaign_uuid is not None:
        answer["run_id"] = str(run_id(campaign_uuid, each.scheduled_for))
    return answer


def _read_uuid(value: object) -> UUID | None:
    """Return the uuid of the campaign, if it is one; it only names the runs."""
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _read_after(faults: Faults, value: object, body: object, timezone: str) -> datetime | None:
    written = parse_datetime(value) if isinstance(value, str) else None
    if written is None:
        faults.add_malformed("after", datetime_fault(value))
        return None
    if written.tzinfo is UTC:
        return written
    try:
        return resolve_datetime(written, zone(_body_zone(body, timezone)))[0]
    except OverflowError:
        faults.add_unsupported(
            "after", f"is {shown_value(value)}, in UTC outside the years 1 to 9999"
        )
        return None


def _body_zone(body: object, timezone: str) -> str:
    """Return the zone of a body that is not read yet, for the naive times beside it."""
    if isinstance(body, dict):
        config = body.get("recurring_config")
        inner = config.get("time_zone") if isinstance(config, dict) else None
        recurs = body.get("schedule_type") == "recurring"
        for name in (inner if recurs else None, body.get("timezone")):
            if isinstance(name, str) and is_zone(name):
                return name
    return timezone


def _error_answer(identity: object, status: int, message: str, line: int | None = None) -> Answer:
    answer: Answer = {"id": identity, "error": {"status": status, "message": message}}
    if line is not None:
        answer["line"] = line
    return answer


def _unreadable_line(text: str, line: int, message: str, status: int = 400) -> Answer:
    return _error_answer(_json_writable_or_none(_find_id(text)), status, message, line)


def _find_id(text: str) -> object:
    """Return the top-level id of a line that is not valid JSON, if it can be read."""
    place = _skip_whitespace(text, 0)
    if text[place : place + 1] != "{":
        return None
    found = None
    try:
        while text[place : place + 1] in ("{", ","):
            name, place = _lenient.raw_decode(text, _skip_whitespace(text, place + 1))
            place = _skip_whitespace(text, place)
            if not isinstance(name, str) or text[place : place + 1] != ":":
                break
            start = _skip_whitespace(text, place + 1)
            value, place = _lenient.raw_decode(text, start)
            place = _skip_whitespace(text, place)
            if name == "id" and text[place : place + 1] in (",", "}"):
                found = value
    except (ValueError, RecursionError):
        pass
    return found


def _skip_whitespace(text: str, place: int) -> int:
    match = _WHITESPACE.match(text, place)
    return match.end() if match else place


def _json_writable_or_none(value: object) -> object:
    """Return the value if it can be written as JSON text, else None."""
    return value if _is_json_writable(value) else None


def _is_json_writable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return True
