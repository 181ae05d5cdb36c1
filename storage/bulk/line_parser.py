"""Parses one line of an import file: JSON to a checked value, without a database.

A line is ``{"campaign": {...}, "schedule": BODY or null}``. Export adds:

- ``anchor``: the wall-clock DTSTART of a recurrence whose ``schedule`` body names no scheduled_at;
- ``defaults``: the settings that apply where the body names none;
- ``next_run_at``: for readers; ignored.

A line without uuid gets a UUIDv5 of its content, so that loading a file twice changes nothing. Two
lines with the same content are the same campaign.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from daemon.domain.campaign.model import NAME_LIMIT
from daemon.domain.campaign.payload import read_payload
from daemon.domain.campaign.state_machine import Status
from daemon.domain.requests.context import LONGEST_GRACE
from daemon.domain.requests.datetimes import parse_datetime
from daemon.domain.requests.fields import (
    BLANK,
    Faults,
    NotJson,
    datetime_fault,
    read_boolean,
    read_choice,
    read_integer,
    read_object,
    read_zone,
    shown_value,
    strict_decoder,
)
from daemon.domain.schedule.schedule import CampaignType

LONGEST_LINE = 256 * 1024
HIGHEST_ID = 2**53 - 1
"""Maximum id: larger numbers are not exact in the JSON of other programs."""
NAMESPACE = UUID("5c9e7a52-6c34-5b0e-9a57-3f1d0f6f7f0b")
"""Namespace of the UUIDv5 of a line without uuid: the name and the line in canonical JSON."""

_LINE = frozenset({"campaign", "schedule", "anchor", "defaults", "next_run_at"})
_CAMPAIGN = frozenset(
    {
        "id",
        "uuid",
        "name",
        "type",
        "status",
        "timezone",
        "target",
        "payload",
        "archived_from",
        "history",
        "created_at",
    },
)
_HISTORY = frozenset({"due", "completed"})
_DEFAULTS = frozenset({"continuous_interval", "misfire_grace_time"})
_TYPES = {kind.value: kind for kind in CampaignType}
_STATUSES = {status.value: status for status in Status}
_ARCHIVED_FROM = ("draft", "completed", "failed", "cancelled")
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_TARGET_LIMIT = 200
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class BadLine(Exception):
    """A line that cannot be loaded; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Line:
    """The values of a line; None is absent. ``content`` is equal for lines of equal content."""

    number: int
    uuid: UUID
    name: str
    id: int | None
    type: CampaignType | None
    status: Status | None
    timezone: str
    target: str
    payload: dict[str, Any]
    archived_from: Status | None
    has_due: bool | None
    has_completed: bool | None
    created_at: datetime | None
    schedule: dict[str, Any] | None
    anchor: datetime | None
    continuous_interval: int | None
    misfire_grace_time: int | None
    content: int


def parse_line(raw: bytes, number: int) -> Line:
    """Return the values of one line. Raises BadLine."""
    try:
        return _read_values(_decode_json(raw), number)
    except RecursionError:
        raise BadLine("is nested too deeply") from None


def _read_values(line: dict[str, Any], number: int) -> Line:
    faults = Faults()
    faults.add_unknown_fields(line, _LINE)
    campaign = read_object(faults, "campaign", line.get("campaign"))
    if campaign is None:
        if "campaign" not in faults:
            faults.add_malformed("campaign", BLANK)
        raise _bad_line(faults)
    faults.add_unknown_fields(campaign, _CAMPAIGN, "campaign.")
    get = campaign.get
    name = get("name")
    if name is None:
        faults.add_malformed("campaign.name", BLANK)
    elif not isinstance(name, str) or not 1 <= len(name) <= NAME_LIMIT:
        text = f"is {shown_value(name)}, must be a text of 1 to {NAME_LIMIT} characters"
        faults.add_malformed("campaign.name", text)
    target = get("target")
    if target is not None and not (isinstance(target, str) and 1 <= len(target) <= _TARGET_LIMIT):
        faults.add_malformed(
            "campaign.target", f"is {shown_value(target)}, must be the name of a target"
        )
    kind = read_choice(faults, "campaign.type", get("type"), _TYPES)
    status = read_choice(faults, "campaign.status", get("status"), _STATUSES)
    archived = read_choice(faults, "campaign.archived_from", get("archived_from"), _ARCHIVED_FROM)
    if (archived is None) is (status == "archived") and "campaign.archived_from" not in faults:
        text = f"{BLANK} when archived" if archived is None else "belongs to an archived campaign"
        faults.add_malformed("campaign.archived_from", text)
    history = read_object(faults, "campaign.history", get("history")) or {}
    faults.add_unknown_fields(history, _HISTORY, "campaign.history.")
    defaults = read_object(faults, "defaults", line.get("defaults")) or {}
    faults.add_unknown_fields(defaults, _DEFAULTS, "defaults.")
    value = Line(
        number=number,
        uuid=_read_uuid(faults, get("uuid")) or _derived_uuid(name, line),
        name=name or "",
        id=read_integer(faults, "campaign.id", get("id"), 1, HIGHEST_ID),
        type=None if kind is None else _TYPES[kind],
        status=None if status is None else _STATUSES[status],
        timezone=read_zone(faults, "campaign.timezone", get("timezone")) or "UTC",
        target=target or "log",
        payload=read_payload(faults, "campaign.payload", get("payload")) or {},
        archived_from=None if archived is None else _STATUSES[archived],
        has_due=read_boolean(faults, "campaign.history.due", history.get("due")),
        has_completed=read_boolean(faults, "campaign.history.completed", history.get("completed")),
        created_at=_read_instant(faults, "campaign.created_at", get("created_at")),
        schedule=read_object(faults, "schedule", line.get("schedule")),
        anchor=_read_anchor(faults, line.get("anchor")),
        continuous_interval=_read_default(faults, defaults, "continuous_interval"),
        misfire_grace_time=_read_default(faults, defaults, "misfire_grace_time"),
        content=hash(_canonical(line)),
    )
    if faults:
        raise _bad_line(faults)
    return value


def payload_text(payload: dict[str, Any]) -> str:
    """Return a payload as JSON text."""
    return _compact(payload)


_decoder = strict_decoder()


def _decode_json(raw: bytes) -> dict[str, Any]:
    if len(raw.rstrip(b"\r\n")) > LONGEST_LINE:
        raise BadLine(f"is longer than {LONGEST_LINE} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLine(f"is not UTF-8 at byte {error.start}") from None
    try:
        line = _decoder.decode(text.removeprefix("\ufeff"))
        if "\\u" in text:
            _require_storable_texts(line)
    except json.JSONDecodeError as error:
        raise BadLine(f"is not JSON: {error.msg} at column {error.colno}") from None
    except NotJson as error:
        raise BadLine(f"is not JSON: {error}") from None
    except ValueError:
        raise BadLine("is not JSON: an integer has too many digits") from None
    if not isinstance(line, dict):
        raise BadLine(f"is {shown_value(line)}, must be an object")
    return line


def _require_storable_texts(value: object) -> None:
    """Refuse characters that only an escape can contain and PostgreSQL cannot store."""
    if isinstance(value, str):
        if "\0" in value:
            raise BadLine("has the character \\u0000 in it, which cannot be stored")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise BadLine("has a lone surrogate in it") from None
    elif isinstance(value, dict):
        for name, inner in value.items():
            _require_storable_texts(name)
            _require_storable_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            _require_storable_texts(inner)


def _bad_line(faults: Faults) -> BadLine:
    return BadLine(faults.to_error("").detail)


def _read_uuid(faults: Faults, value: object) -> UUID | None:
    if value is None:
        return None
    if isinstance(value, str) and _is_uuid(value):
        return UUID(value)
    faults.add_malformed("campaign.uuid", f"is {shown_value(value)}, must be a uuid")
    return None


def _derived_uuid(name: object, line: dict[str, Any]) -> UUID:
    """Return the uuid of a line without one; ``next_run_at`` does not count."""
    content = {
        key: value for key, value in line.items() if key != "next_run_at" and value is not None
    }
    return uuid5(NAMESPACE, f"{name}\n{_canonical(content)}")


def _read_instant(faults: Faults, path: str, value: object) -> datetime | None:
    if value is None:
        return None
    written = parse_datetime(value) if isinstance(value, str) else None
    if written is None or written.tzinfo is None:
        faults.add_malformed(path, datetime_fault(value, "a datetime with an offset or Z"))
        return None
    return written


def _read_anchor(faults: Faults, value: object) -> datetime | None:
    if value is None:
        return None
    written = parse_datetime(value) if isinstance(value, str) else None
    if written is None or written.tzinfo is not None:
        faults.add_malformed("anchor", datetime_fault(value, "a wall-clock time without offset"))
        return None
    return written


def _read_default(faults: Faults, defaults: dict[str, Any], name: str) -> int | None:
    return read_integer(faults, f"defaults.{name}", defaults.get(name), 1, LONGEST_GRACE)
