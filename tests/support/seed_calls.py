"""The two calls of the seeds."""

from __future__ import annotations

from typing import Any

from tests.support.api_server import RunningApi

SERVER_FAULT = "Internal Server Error - Please contact support for more information."


def post_schedule(api: RunningApi, campaign: dict[str, Any], **body: Any) -> Any:
    """POST a `schedule` body."""
    return api.http.post(f"/campaigns/{campaign['id']}/schedule", json=body)


def patch_schedule(api: RunningApi, campaign: dict[str, Any], **body: Any) -> Any:
    """PATCH an `update_schedule` body."""
    return api.http.patch(f"/campaigns/{campaign['uuid']}/update_schedule", json=body)
