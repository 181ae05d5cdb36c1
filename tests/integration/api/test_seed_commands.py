"""The documented curl commands, run by curl, and their effect."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from datetime import timedelta
from typing import Any

import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi, instant_ahead, request_text
from tests.support.seed_calls import (
    post_schedule,
)

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(api: RunningApi, campaign: dict[str, Any], data: str) -> Any:
    """Run the documented command with the server's URL, the campaign and the key."""
    basic = base64.b64encode(f"{api.keys[Scope.WRITE]}:".encode()).decode()
    done = subprocess.run(
        [
            "curl",
            "--silent",
            "--request",
            "PATCH",
            "--url",
            f"{api.url}/api/v1/campaigns/{campaign['uuid']}/update_schedule",
            "--header",
            "accept: application/json",
            "--header",
            f"authorization: Basic {basic}",
            "--header",
            "content-type: application/json",
            "--data",
            data,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    return json.loads(done.stdout)


@needs_curl
def test_the_curl_command_with_start_and_end(api: RunningApi) -> None:
    """The command works with a year in the future."""
    data = """
{
  "startdate": "2031-07-01T14:02:36.000Z",
  "enddate": "2031-07-03T14:02:36.000Z"
}
"""
    assert curl(api, api.create_campaign(), data) == {"success": True}


@needs_curl
def test_the_curl_command_with_a_recurrence(api: RunningApi) -> None:
    """The command works with a year in the future."""
    data = """
{
  "repeating_schedule_attributes": {
    "interval_size": 2,
    "interval_unit": "day",
    "day_of_month": "nth_day",
    "days_of_week": [
      "tue",
      "thu"
    ]
  },
  "startdate": "2031-07-01T09:00:00.000Z",
  "enddate": "2031-07-15T18:00:00.000Z",
  "recurring_schedule": "daily"
}
"""
    assert curl(api, api.create_campaign(type="recurring"), data) == {"success": True}


@needs_curl
def test_curl_with_a_user(api: RunningApi) -> None:
    """`--user KEY:` sends Basic with an empty password."""
    done = subprocess.run(
        ["curl", "-s", "-K", "-", f"{api.url}/api/v1/campaigns?limit=1"],
        input=f'user = "{api.keys[Scope.READ]}:"\n',
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    assert "items" in json.loads(done.stdout)


@pytest.mark.alone
def test_a_saved_campaign_runs(api: RunningApi) -> None:
    """A saved one-off campaign starts at its instant without a start command."""
    campaign = api.create_campaign()
    at = instant_ahead(seconds=3)
    post_schedule(api, campaign, schedule_type="scheduled", scheduled_at=request_text(at))
    api.database.wait_until(
        "SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign["id"]
    )
    (run,) = api.http.get(f"/campaigns/{campaign['id']}/runs").json()["items"]
    assert (run["scheduled_for"], run["status"]) == (request_text(at), "completed")
    assert run["lateness_ms"] < timedelta(seconds=1) / timedelta(milliseconds=1)
