"""The one message that every target hands over, whatever carries it; `docs/targets.md` has it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from daemon.domain.run.attempt import Attempt


def message(work: Attempt) -> dict[str, Any]:
    """A run as JSON has it: ``{"type": "campaign.run", "timestamp": ..., "data": {...}}``."""
    return {
        "type": "campaign.run",
        "timestamp": instant(work.scheduled_for),
        "data": {
            "run_id": str(work.run_id),
            "attempt": work.attempt,
            "campaign_id": work.campaign_id,
            "campaign_uuid": str(work.campaign_uuid),
            "campaign_name": work.campaign_name,
            "scheduled_for": instant(work.scheduled_for),
            "target": work.target,
            "payload": work.payload,
        },
    }


def encoded(work: Attempt) -> bytes:
    """The message as UTF-8 JSON."""
    return _encode(message(work)).encode()


def instant(value: datetime) -> str:
    """``2026-01-01T09:00:00.000000Z``."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
