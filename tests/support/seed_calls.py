"""The two calls of the seeds."""

from __future__ import annotations

from typing import Any

from tests.support.api_server import Api

SERVER_FAULT = "Internal Server Error - Please contact support for more information."


def save(api: Api, campaign: dict[str, Any], **body: Any) -> Any:
    """POST a `schedule` body."""
    return api.http.post(f"/campaigns/{campaign['id']}/schedule", json=body)


def update(api: Api, campaign: dict[str, Any], **body: Any) -> Any:
    """PATCH an `update_schedule` body."""
    return api.http.patch(f"/campaigns/{campaign['uuid']}/update_schedule", json=body)
