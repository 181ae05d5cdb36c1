"""Idempotency keys, entity tags, and many clients at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi

CLIENTS = 50


def count(api: RunningApi, table: str = "campaigns") -> int:
    """Return the number of rows."""
    return int(api.database.one(f"SELECT count(*) FROM {table}"))


def test_a_repetition_returns_the_same_response(api: RunningApi) -> None:
    """A repetition returns the same bytes, status and headers."""
    headers = {"Idempotency-Key": "create-1"}
    before = count(api)
    first = api.http.post("/campaigns", json={"name": "x"}, headers=headers)
    again = api.http.post("/campaigns", json={"name": "x"}, headers=headers)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count(api) == before + 1


def test_the_same_key_with_another_body_is_refused(api: RunningApi) -> None:
    """Another path is refused as well. Each API key has its own Idempotency-Keys."""
    headers = {"Idempotency-Key": "create-2"}
    assert api.http.post("/campaigns", json={"name": "x"}, headers=headers).status_code == 201
    assert api.http.post("/campaigns", json={"name": "y"}, headers=headers).status_code == 422
    campaign = api.create_campaign()
    path = f"/campaigns/{campaign['id']}/start"
    assert api.http.post(path, headers=headers).status_code == 422
    with api.client(Scope.ADMIN) as other:
        assert other.post("/campaigns", json={"name": "y"}, headers=headers).status_code == 201


def test_refusals_are_not_stored(api: RunningApi) -> None:
    """A request that changed nothing can be repeated with the same key."""
    campaign = api.create_campaign()
    path, headers = f"/campaigns/{campaign['id']}/unarchive", {"Idempotency-Key": "later"}
    assert api.http.post(path, headers=headers).status_code == 400
    api.http.post(f"/campaigns/{campaign['id']}/archive")
    assert api.http.post(path, headers=headers).status_code == 200
    assert api.http.post(path, headers=headers).status_code == 200
    assert api.status_of(campaign) == "draft"


def test_every_change_is_idempotent_with_a_key(api: RunningApi) -> None:
    """Repeated changes of schedules and lifecycle are one event each."""
    campaign = api.create_campaign(type="recurring")
    body = {
        "schedule_type": "recurring",
        "recurring_config": {"frequency": "daily", "time": "09:00"},
    }
    for _ in range(3):
        response = api.http.post(
            f"/campaigns/{campaign['id']}/schedule", json=body, headers={"Idempotency-Key": "s"}
        )
        assert response.status_code == 200
        assert api.http.post(
            f"/campaigns/{campaign['id']}/pause", headers={"Idempotency-Key": "p"}
        ).json()["changed"]
        assert (
            api.http.patch(
                f"/campaigns/{campaign['id']}/update_schedule",
                json={"startdate": "2031-01-01T00:00:00Z"},
                headers={"Idempotency-Key": "u"},
            ).status_code
            == 200
        )
    events = [event["event"] for event in api.events_of(campaign)]
    assert events == ["created", "schedule_saved", "pause", "schedule_updated"]


def test_rerun_needs_a_key(api: RunningApi) -> None:
    """Without a key it is refused; with a key there is one run, however often it is sent."""
    campaign = api.create_campaign()
    path = f"/campaigns/{campaign['id']}"
    api.http.post(f"{path}/start")
    api.database.wait_until(
        "SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign["id"]
    )
    response = api.http.post(f"{path}/rerun")
    assert (response.status_code, response.json()["message"]) == (400, "Idempotency-Key required")
    for _ in range(3):
        response = api.http.post(f"{path}/rerun", headers={"Idempotency-Key": "again"})
        assert response.status_code == 200
    api.database.wait_until(
        "SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign["id"]
    )
    assert len(api.http.get(f"{path}/runs").json()["items"]) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_invalid_idempotency_keys_are_refused(api: RunningApi, key: str) -> None:
    """An Idempotency-Key has 1 to 255 printable ASCII characters."""
    headers = [("Idempotency-Key", key.encode())]
    assert api.http.post("/campaigns", json={"name": "x"}, headers=headers).status_code == 400


def test_stored_responses_expire(api: RunningApi) -> None:
    """After 24 hours a key is new again, and the old response is deleted."""
    headers = {"Idempotency-Key": "yesterday"}
    api.http.post("/campaigns", json={"name": "x"}, headers=headers)
    api.database.rows("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
    response = api.http.post("/campaigns", json={"name": "y"}, headers=headers)
    assert (response.status_code, response.json()["name"]) == (201, "y")
    assert count(api, "idempotency_keys") == 1


def test_an_expired_key_can_be_used_again_while_older_ones_wait_to_be_pruned(
    api: RunningApi,
) -> None:
    """A request prunes the 100 oldest; a nightly job with fixed keys leaves more."""
    headers = {"Idempotency-Key": "old-300"}
    api.http.post("/campaigns", json={"name": "x"}, headers=headers)
    api.database.rows(
        "INSERT INTO idempotency_keys SELECT api_key_id, 'old-' || i, fingerprint, answer,"
        " now() - interval '26 hours' + i * interval '1 second'"
        " FROM idempotency_keys, generate_series(1, 299) AS i WHERE key = 'old-300'"
    )
    api.database.rows(
        "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old-300'"
    )
    for replayed in (None, "true"):
        response = api.http.post("/campaigns", json={"name": "y"}, headers=headers)
        assert (response.status_code, response.json()["name"]) == (201, "y")
        assert response.headers.get("Idempotency-Replayed") == replayed


async def at_once(api: RunningApi, send: Any, clients: int = CLIENTS) -> list[httpx.Response]:
    """Return the responses to `clients` simultaneous requests, each on its own connection."""
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {api.keys[Scope.WRITE]}"}
    async with httpx.AsyncClient(
        base_url=f"{api.url}/api/v1", headers=headers, limits=limits, timeout=60
    ) as client:
        return list(await asyncio.gather(*(send(client, n) for n in range(clients))))


async def test_one_of_simultaneous_requests_with_a_key_makes_the_change(api: RunningApi) -> None:
    """One request makes the change; the others get its response or a 409."""
    before = count(api)
    responses = await at_once(
        api,
        lambda client, _: client.post(
            "/campaigns", json={"name": "x"}, headers={"Idempotency-Key": "race"}
        ),
    )
    statuses = Counter(response.status_code for response in responses)
    assert set(statuses) <= {201, 409}
    assert statuses[201] >= 1
    assert len({response.content for response in responses if response.status_code == 201}) == 1
    assert all(
        "Retry-After" in response.headers for response in responses if response.status_code == 409
    )
    assert count(api) == before + 1


def test_if_match_guards_changes(api: RunningApi) -> None:
    """An old ETag is refused with 412; the response to a save has the new ETag."""
    campaign = api.create_campaign()
    path = f"/campaigns/{campaign['id']}/schedule"
    body = {
        "schedule_type": "recurring",
        "recurring_config": {"frequency": "daily", "time": "09:00"},
    }
    no_schedule = api.http.get(path).headers["ETag"]
    assert no_schedule == '"0"'
    first = api.http.post(path, json=body, headers={"If-Match": no_schedule})
    assert first.status_code == 200
    assert api.http.get(path).headers["ETag"] == first.headers["ETag"]
    stale = api.http.post(path, json=body, headers={"If-Match": no_schedule})
    assert (stale.status_code, stale.json()["message"]) == (412, "Precondition failed")
    assert api.http.delete(path, headers={"If-Match": no_schedule}).status_code == 412
    tag = first.headers["ETag"]
    second = api.http.post(path, json=body, headers={"If-Match": f'"17", {tag}'})
    assert second.status_code == 200
    api.http.post(f"/campaigns/{campaign['id']}/pause")
    updated = api.http.patch(
        f"/campaigns/{campaign['id']}/update_schedule",
        json={"startdate": "2031-01-01T00:00:00Z"},
        headers={"If-Match": second.headers["ETag"]},
    )
    assert updated.status_code == 200
    cleared = api.http.delete(path, headers={"If-Match": updated.headers["ETag"]})
    assert (cleared.status_code, cleared.headers["ETag"]) == (200, '"0"')
    assert api.http.delete(path, headers={"If-Match": "*"}).status_code == 412
    assert api.http.delete(path, headers={"If-Match": "17"}).status_code == 400


def test_a_schedule_is_never_reported_as_unmodified(api: RunningApi) -> None:
    """The ETag is for If-Match only: status and next run change without a new revision."""
    campaign = api.create_armed_campaign()
    path = f"/campaigns/{campaign['id']}/schedule"
    before = api.http.get(path)
    api.http.post(f"/campaigns/{campaign['id']}/pause")
    after = api.http.get(path, headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert (after.json()["status"], after.json()["next_run_at"]) == ("paused", None)


async def test_one_of_simultaneous_changes_of_a_revision_succeeds(api: RunningApi) -> None:
    """One of many simultaneous changes of the same revision succeeds."""
    campaign = api.create_armed_campaign()
    path = f"/campaigns/{campaign['id']}/schedule"
    tag = api.http.get(path).headers["ETag"]

    async def send(client: httpx.AsyncClient, n: int) -> httpx.Response:
        config = {"frequency": "daily", "time": f"10:{n:02}"}
        body = {"schedule_type": "recurring", "recurring_config": config}
        return await client.post(path, json=body, headers={"If-Match": tag})

    statuses = Counter(response.status_code for response in await at_once(api, send))
    assert statuses == {200: 1, 412: CLIENTS - 1}
    assert [event["event"] for event in api.events_of(campaign)].count("schedule_saved") == 2


async def test_many_writers_of_one_campaign(api: RunningApi) -> None:
    """No update is lost: each save is one event, and the last revision is stored."""
    campaign = api.create_campaign()
    path = f"/campaigns/{campaign['id']}/schedule"

    async def send(client: httpx.AsyncClient, n: int) -> httpx.Response:
        config = {"frequency": "daily", "time": f"09:{n:02}"}
        return await client.post(
            path, json={"schedule_type": "recurring", "recurring_config": config}
        )

    responses = await at_once(api, send)
    assert {response.status_code for response in responses} == {200}
    revisions = {
        int(response.headers["ETag"].strip('"')): n for n, response in enumerate(responses)
    }
    assert len(revisions) == CLIENTS
    shown = api.http.get(path).json()
    assert shown["revision"] == max(revisions)
    assert shown["recurring_config"]["time"] == f"09:{revisions[max(revisions)]:02}"
    saved = [event for event in api.events_of(campaign) if event["event"] == "schedule_saved"]
    assert len(saved) == CLIENTS
    assert Counter(event["from_status"] for event in saved) == {
        "draft": 1,
        "scheduled": CLIENTS - 1,
    }


async def test_many_commands_on_one_campaign(api: RunningApi) -> None:
    """Each accepted command is one event, and the statuses of the events form a chain."""
    campaign = api.create_armed_campaign()
    commands = ("pause", "start", "stop", "archive", "unarchive")

    async def send(client: httpx.AsyncClient, n: int) -> httpx.Response:
        return await client.post(f"/campaigns/{campaign['id']}/{commands[n % len(commands)]}")

    responses = await at_once(api, send)
    assert {response.status_code for response in responses} <= {200, 400}
    changed = [a for a in responses if a.status_code == 200 and a.json()["changed"]]
    events = api.events_of(campaign)
    assert len(events) == len(changed) + 2
    status = "draft"
    for event in events[1:]:
        assert event["from_status"] == status
        status = event["to_status"]
    assert status == api.status_of(campaign)
