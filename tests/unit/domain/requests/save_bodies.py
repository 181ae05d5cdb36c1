"""Bodies of `schedule`, read for a test."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from daemon.domain.errors import InvalidInput
from daemon.domain.requests import BodyContext, read_schedule_body
from daemon.domain.schedule.schedule import (
    CampaignType,
    Schedule,
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


NOW = at("2026-06-10T12:00Z")  # a Wednesday
CTX = BodyContext(NOW, CampaignType.ONE_TIME)
ABSENT = object()


def recurring(**config: Any) -> dict[str, Any]:
    """Return a valid recurring body; keywords change recurring_config, or with top_ the body."""
    body: dict[str, Any] = {"schedule_type": "recurring"}
    body["recurring_config"] = {"frequency": "daily", "time": "09:00"}
    for name, value in config.items():
        place = body if name.startswith("top_") else body["recurring_config"]
        place[name.removeprefix("top_")] = value
        if value is ABSENT:
            del place[name.removeprefix("top_")]
    return body


def schedule(body: dict[str, Any], ctx: BodyContext = CTX) -> Schedule:
    saved = read_schedule_body(body, ctx).schedule
    assert saved is not None
    return saved


def refusal(body: object, ctx: BodyContext = CTX) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read_schedule_body(body, ctx)
    return caught.value
