"""The message that every target delivers; docs/targets.md describes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson

from daemon.domain.run.attempt import Attempt

TEST_CAMPAIGN_ID = 0
"""The campaign id of a test message; no campaign has it."""


def message_type(attempt: Attempt) -> str:
    """Return the type of an attempt's message: ``campaign.run``, or ``campaign.test``."""
    return "campaign.test" if attempt.campaign_id == TEST_CAMPAIGN_ID else "campaign.run"


def message(attempt: Attempt) -> dict[str, Any]:
    """Return the message: ``{"type": "campaign.run", "timestamp": ..., "data": {...}}``."""
    scheduled_for = instant_text(attempt.scheduled_for)
    return {
        "type": message_type(attempt),
        "timestamp": scheduled_for,
        "data": {
            "run_id": str(attempt.run_id),
            "attempt": attempt.number,
            "campaign_id": attempt.campaign_id,
            "campaign_uuid": str(attempt.campaign_uuid),
            "campaign_name": attempt.campaign_name,
            "scheduled_for": scheduled_for,
            "target": attempt.target,
            "payload": attempt.payload,
        },
    }


def cloud_event(attempt: Attempt) -> dict[str, Any]:
    """Return the message as a CloudEvent 1.0 in structured JSON mode.

    Every attempt has the same ``source`` and ``id``, so that receivers recognise a repeat.
    """
    return {
        "specversion": "1.0",
        "id": str(attempt.run_id),
        "source": f"/campaignd/campaigns/{attempt.campaign_uuid}",
        "type": message_type(attempt),
        "time": instant_text(attempt.scheduled_for),
        "datacontenttype": "application/json",
        "data": message(attempt)["data"],
    }


_CONTENTS = {"campaignd": message, "cloudevents": cloud_event}
CONTENT_TYPES = {
    "campaignd": "application/json",
    "cloudevents": "application/cloudevents+json",
}
"""The media types of the formats that a target's setting ``format`` names."""


def message_as(form: str, attempt: Attempt) -> dict[str, Any]:
    """Return the message in a format of `CONTENT_TYPES`."""
    return _CONTENTS[form](attempt)


def encoded_message(attempt: Attempt, form: str = "campaignd") -> bytes:
    """Return the message in a format of `CONTENT_TYPES`, as UTF-8 JSON."""
    content = message_as(form, attempt)
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:
        # A payload may have integers of more than 64 bits, or over 250 levels.
        return _encode(content).encode()


def instant_text(value: datetime) -> str:
    """Return an instant as ``2026-01-01T09:00:00.000000Z``."""
    return value.astimezone(UTC).isoformat("T", "microseconds")[:-6] + "Z"


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
