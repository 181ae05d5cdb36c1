"""Dry runs over HTTP: the answer, and that nothing is written."""

from __future__ import annotations

from typing import Any

import httpx

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi, instant_ahead, request_text

DAILY = {"schedule_type": "recurring", "recurring_config": {"frequency": "daily", "time": "09:00"}}


def saved(client: httpx.Client) -> tuple[str, str]:
    """Return the path of a daily campaign and the ETag of its schedule."""
    made = client.post("/campaigns", json={"name": "daily", "type": "recurring"}).json()
    path = f"/campaigns/{made['id']}"
    return path, client.post(f"{path}/schedule", json=DAILY).headers["ETag"]


def test_a_save_is_compared_and_not_written(api: RunningApi) -> None:
    """F.14: afterwards history and ETag are unchanged, and no idempotency key is kept."""
    with api.client(Scope.WRITE) as client:
        path, etag = saved(client)
        events = client.get(f"{path}/events").json()
        body: dict[str, Any] = {"recurring_config": {"frequency": "daily", "time": "09:30"}}
        for _ in range(2):
            answer = client.post(
                f"{path}/schedule",
                params={"dry_run": "true", "days": 7},
                json={**DAILY, **body},
                headers={"Idempotency-Key": "the same", "If-Match": etag},
            )
            assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["dry_run"], found["armed"], found["status"]) == (True, True, "scheduled")
        assert found["summary"]["moves"] >= 6
        assert found["moves"][0]["was"].endswith("T09:00:00Z")
        assert found["moves"][0]["now"].endswith("T09:30:00Z")
        assert client.get(f"{path}/schedule").headers["ETag"] == etag
        assert client.get(f"{path}/events").json() == events
        vanishing = client.delete(f"{path}/schedule", params={"dry_run": "true"}).json()
        assert vanishing["summary"]["vanishes"] >= 29
        assert len(vanishing["vanishes"]) == vanishing["summary"]["vanishes"]
        assert client.post(f"{path}/start", params={"dry_run": "true"}).json()["summary"]["same"]


def test_the_errors_are_those_of_the_request(api: RunningApi) -> None:
    """F.8, F.9 and F.10, and an option that is neither true nor false."""
    with api.client(Scope.WRITE) as client:
        path, _ = saved(client)
        wrong = {**DAILY, "recurring_config": {"frequency": "daily", "interval": 0}}
        dry = {"dry_run": "true"}
        refused = client.post(f"{path}/schedule", json=wrong)
        assert client.post(f"{path}/schedule", json=wrong, params=dry).json() == refused.json()
        stale = {"If-Match": '"1"'}
        answer = client.post(f"{path}/schedule", json=DAILY, params=dry, headers=stale)
        assert answer.status_code == 412
        answer = client.post(f"{path}/schedule", json=DAILY, params={"dry_run": "yes"})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["dry_run"])
        answer = client.patch(f"{path}/update_schedule", json={}, params=dry)
        assert answer.status_code in (400, 422)
        client.post(f"{path}/stop")
        client.post(f"{path}/archive")
        assert client.post(f"{path}/schedule", json=DAILY, params=dry).status_code == 400
    with api.client(Scope.READ) as reader:
        assert reader.post(f"{path}/schedule", json=DAILY, params=dry).status_code == 403


def test_an_update_is_compared(api: RunningApi) -> None:
    with api.client(Scope.WRITE) as client:
        made = client.post("/campaigns", json={"name": "once", "type": "one_time"}).json()
        path = f"/campaigns/{made['id']}/update_schedule"
        body = {"startdate": request_text(instant_ahead(hours=1))}
        assert client.patch(path, json=body).json() == {"success": True}
        later = {"startdate": request_text(instant_ahead(hours=30))}
        answer = client.patch(path, json=later, params={"dry_run": "true"}).json()
        assert (answer["armed"], answer["summary"]["appears"]) == (False, 1)
        assert answer["summary"]["vanishes"] == 1
