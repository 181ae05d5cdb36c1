"""Held runs over HTTP: release and drop, one or many with the number confirmed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from daemon.domain.campaign.model import run_id
from tests.support.api_server import RunningApi


def add_held(api: RunningApi) -> dict[str, Any]:
    """Return a campaign without a schedule whose run is held before its first attempt."""
    campaign = api.create_campaign()
    api.database.rows(
        "UPDATE campaigns SET status = 'executing', open_runs = 1, held_runs = 1, has_due = true"
        " WHERE id = %s",
        campaign["id"],
    )
    at = api.database.one("SELECT date_trunc('second', now())")
    identity = run_id(UUID(campaign["uuid"]), at)
    api.database.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, claimed_at, start_before, error)"
        " VALUES (%s, %s, %s, 'held', now(), now(), 'held: too late')",
        campaign["id"],
        at,
        identity,
    )
    return {"id": str(identity), "campaign": campaign}


@pytest.fixture
def run(api: RunningApi) -> dict[str, Any]:
    return add_held(api)


def test_drop_ends_the_run_once(api: RunningApi, run: dict[str, Any]) -> None:
    response = api.http.post(f"/runs/{run['id']}/drop", json={"note": "too old"})
    assert response.status_code == 200, response.text
    assert response.json() == {
        "success": True,
        "run_id": run["id"],
        "campaign_id": run["campaign"]["id"],
        "status": "missed",
        "due_at": None,
    }
    assert api.status_of(run["campaign"]) == "failed"
    again = api.http.post(f"/runs/{run['id']}/drop")
    assert (again.status_code, again.json()["message"]) == (409, "Not held")


def test_release_makes_the_run_due(api: RunningApi, run: dict[str, Any]) -> None:
    response = api.http.post(f"/runs/{run['id']}/release")
    assert response.status_code == 200, response.text
    assert response.json()["due_at"] is not None
    api.database.wait_until("SELECT status = 'completed' FROM runs WHERE id = %s", UUID(run["id"]))


def test_many_need_their_number(api: RunningApi, run: dict[str, Any]) -> None:
    body: dict[str, Any] = {"where": {"campaign": run["campaign"]["id"], "reason": "late"}}
    refused = api.http.post("/runs/drop", json=body)
    assert (refused.status_code, refused.json()) == (
        409,
        {
            "message": "Confirmation required",
            "detail": "this concerns 1 runs; repeat with confirm=1",
            "count": 1,
        },
    )
    done = api.http.post("/runs/drop", json={**body, "confirm": 1})
    assert (done.status_code, done.json()) == (200, {"success": True, "count": 1})


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({}, "where can't be blank"),
        ({"where": {}}, "where is empty, must name at least one condition, or all: true"),
        ({"where": {"reasons": "late"}}, "where.reasons"),
        ({"where": {"reason": "tired"}}, "where.reason"),
        ({"where": {"all": True}, "confirm": "1"}, "confirm"),
    ],
)
def test_a_selection_is_checked(api: RunningApi, body: dict[str, Any], fault: str) -> None:
    response = api.http.post("/runs/release", json=body)
    assert response.status_code == 400
    assert fault in response.json()["detail"]
