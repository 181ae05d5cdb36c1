"""Bodies of `update_schedule`, read for a test."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from daemon.domain.errors import InvalidInput
from daemon.domain.requests import (
    BodyContext,
    CurrentSchedule,
    ParsedSchedule,
    read_update_body,
)
from daemon.domain.schedule.schedule import (
    CampaignType,
    Schedule,
)

ONE_TIME, RECURRING = CampaignType.ONE_TIME, CampaignType.RECURRING
SEGMENT, EVENT, LIVE = (
    CampaignType.SEGMENT_TRIGGERED,
    CampaignType.EVENT_TRIGGERED,
    CampaignType.LIVE_CONTENT,
)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


NOW = at("2025-06-01T00:00Z")
START = "2025-07-01T09:00:00.000Z"  # a Tuesday


def context(kind: CampaignType = RECURRING, **more: Any) -> BodyContext:
    return BodyContext(NOW, kind, **more)


def update(body: dict[str, Any], kind: CampaignType = RECURRING, **more: Any) -> ParsedSchedule:
    return read_update_body(body, context(kind, **more))


def schedule(body: dict[str, Any], kind: CampaignType = RECURRING, **more: Any) -> Schedule:
    found = update(body, kind, **more).schedule
    assert found is not None
    return found


def attributes(**fields: Any) -> dict[str, Any]:
    return {"startdate": START, "repeating_schedule_attributes": fields}


def refusal(body: object, ctx: BodyContext) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read_update_body(body, ctx)
    assert caught.value.message == "Invalid schedule values"
    return caught.value


def current(saved: ParsedSchedule) -> CurrentSchedule:
    assert saved.schedule is not None
    return CurrentSchedule(saved.source, saved.body, saved.schedule)
