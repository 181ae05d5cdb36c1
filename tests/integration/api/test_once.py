"""Doing things once: idempotency keys, entity tags, and many clients at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import Api

CLIENTS = 50


def count(api: Api, table: str = "campaigns") -> int:
    """How many rows there are."""
    return int(api.world.one(f"SELECT count(*) FROM {table}"))


def test_the_same_answer_and_no_second_campaign(api: Api) -> None:
    """Replayed byte for byte, with its status and headers."""
    headers = {"Idempotency-Key": "create-1"}
    before = count(api)
    first = api.http.post("/campaigns", json={"name": "x"}, headers=headers)
    again = api.http.post("/campaigns", json={"name": "x"}, headers=headers)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count(api) == before + 1


def test_another_body_is_a_422(api: Api) -> None:
    """And so is another path; another key's Idempotency-Key is another one."""
    headers = {"Idempotency-Key": "create-2"}
    assert api.http.post("/campaigns", json={"name": "x"}, headers=headers).status_code == 201
    assert api.http.post("/campaigns", json={"name": "y"}, headers=headers).status_code == 422
    campaign = api.campaign()
    path = f"/campaigns/{campaign['id']}/start"
    assert api.http.post(path, headers=headers).status_code == 422
    with api.client(Scope.ADMIN) as other:
        assert other.post("/campaigns", json={"name": "y"}, headers=headers).status_code == 201


def test_refusals_are_not_kept(api: Api) -> None:
    """What changed nothing may be tried again with the same key."""
    campaign = api.campaign()
    path, headers = f"/campaigns/{campaign['id']}/unarchive", {"Idempotency-Key": "later"}
    assert api.http.post(path, headers=headers).status_code == 400
    api.http.post(f"/campaigns/{campaign['id']}/archive")
    assert api.http.post(path, headers=headers).status_code == 200
    assert api.http.post(path, headers=headers).status_code == 200
    assert api.status(campaign) == "draft"


def test_every_change_may_have_a_key(api: Api) -> None:
    """Schedules and lifecycle alike; each is one event, however often it is sent."""
    campaign = api.campaign(type="recurring")
    body = {
        "schedule_type": "recurring",
        "recurring_config": {"frequency": "daily", "time": "09:00"},
    }
    for _ in range(3):
        answer = api.http.post(
            f"/campaigns/{campaign['id']}/schedule", json=body, headers={"Idempotency-Key": "s"}
        )
        assert answer.status_code == 200
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
    events = [event["event"] for event in api.events(campaign)]
    assert events == ["created", "schedule_saved", "pause", "schedule_updated"]


def test_rerun_needs_a_key(api: Api) -> None:
    """Without one it is a 400; with one there is one run, however often it is sent."""
    campaign = api.campaign()
    path = f"/campaigns/{campaign['id']}"
    api.http.post(f"{path}/start")
    api.world.until("SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign["id"])
    answer = api.http.post(f"{path}/rerun")
    assert (answer.status_code, answer.json()["message"]) == (400, "Idempotency-Key required")
    for _ in range(3):
        answer = api.http.post(f"{path}/rerun", headers={"Idempotency-Key": "again"})
        assert answer.status_code == 200
    api.world.until("SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign["id"])
    assert len(api.http.get(f"{path}/runs").json()["items"]) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
def test_keys_that_are_none(api: Api, key: str) -> None:
    """1 to 255 printable ASCII characters."""
    headers = [("Idempotency-Key", key.encode())]
    assert api.http.post("/campaigns", json={"name": "x"}, headers=headers).status_code == 400


def test_old_answers_are_forgotten(api: Api) -> None:
    """After 24 hours a key is new again, and what is old is removed on the way."""
    headers = {"Idempotency-Key": "yesterday"}
    api.http.post("/campaigns", json={"name": "x"}, headers=headers)
    api.world.rows("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
    answer = api.http.post("/campaigns", json={"name": "y"}, headers=headers)
    assert (answer.status_code, answer.json()["name"]) == (201, "y")
    assert count(api, "idempotency_keys") == 1


async def at_once(api: Api, send: Any, clients: int = CLIENTS) -> list[httpx.Response]:
    """The answers to `clients` requests sent at the same moment, each on its own connection."""
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {api.keys[Scope.WRITE]}"}
    async with httpx.AsyncClient(
        base_url=f"{api.url}/api/v1", headers=headers, limits=limits, timeout=60
    ) as client:
        return list(await asyncio.gather(*(send(client, n) for n in range(clients))))


async def test_one_key_at_the_same_moment(api: Api) -> None:
    """One does it; the others get its answer, or are told to come back."""
    before = count(api)
    answers = await at_once(
        api,
        lambda client, _: client.post(
            "/campaigns", json={"name": "x"}, headers={"Idempotency-Key": "race"}
        ),
    )
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {201, 409}
    assert statuses[201] >= 1
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 409)
    assert count(api) == before + 1


def test_entity_tags(api: Api) -> None:
    """A stale one is a 412 and changes nothing; the answer to a save has the new one."""
    campaign = api.campaign()
    path = f"/campaigns/{campaign['id']}/schedule"
    body = {
        "schedule_type": "recurring",
        "recurring_config": {"frequency": "daily", "time": "09:00"},
    }
    none = api.http.get(path).headers["ETag"]
    assert none == '"0"'
    first = api.http.post(path, json=body, headers={"If-Match": none})
    assert first.status_code == 200
    assert api.http.get(path).headers["ETag"] == first.headers["ETag"]
    stale = api.http.post(path, json=body, headers={"If-Match": none})
    assert (stale.status_code, stale.json()["message"]) == (412, "Precondition failed")
    assert api.http.delete(path, headers={"If-Match": none}).status_code == 412
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


def test_a_schedule_is_never_said_to_be_unchanged(api: Api) -> None:
    """Its ETag is for If-Match alone: status and next run change without a new revision."""
    campaign = api.armed()
    path = f"/campaigns/{campaign['id']}/schedule"
    before = api.http.get(path)
    api.http.post(f"/campaigns/{campaign['id']}/pause")
    after = api.http.get(path, headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert (after.json()["status"], after.json()["next_run_at"]) == ("paused", None)


async def test_if_match_at_the_same_moment(api: Api) -> None:
    """Of all who have read the same revision, one wins."""
    campaign = api.armed()
    path = f"/campaigns/{campaign['id']}/schedule"
    tag = api.http.get(path).headers["ETag"]

    async def send(client: httpx.AsyncClient, n: int) -> httpx.Response:
        config = {"frequency": "daily", "time": f"10:{n:02}"}
        body = {"schedule_type": "recurring", "recurring_config": config}
        return await client.post(path, json=body, headers={"If-Match": tag})

    statuses = Counter(answer.status_code for answer in await at_once(api, send))
    assert statuses == {200: 1, 412: CLIENTS - 1}
    assert [event["event"] for event in api.events(campaign)].count("schedule_saved") == 2


async def test_many_writers_of_one_campaign(api: Api) -> None:
    """No lost update, no 5xx; each save is one event and the last revision is what is there."""
    campaign = api.campaign()
    path = f"/campaigns/{campaign['id']}/schedule"

    async def send(client: httpx.AsyncClient, n: int) -> httpx.Response:
        config = {"frequency": "daily", "time": f"09:{n:02}"}
        return await client.post(
            path, json={"schedule_type": "recurring", "recurring_config": config}
        )

    answers = await at_once(api, send)
    assert {answer.status_code for answer in answers} == {200}
    revisions = {int(answer.headers["ETag"].strip('"')): n for n, answer in enumerate(answers)}
    assert len(revisions) == CLIENTS
    shown = api.http.get(path).json()
    assert shown["revision"] == max(revisions)
    assert shown["recurring_config"]["time"] == f"09:{revisions[max(revisions)]:02}"
    saved = [event for event in api.events(campaign) if event["event"] == "schedule_saved"]
    assert len(saved) == CLIENTS
    assert Counter(event["from_status"] for event in saved) == {
        "draft": 1,
        "scheduled": CLIENTS - 1,
    }


async def test_many_commands_on_one_campaign(api: Api) -> None:
    """In whatever order they come: each accepted one is one event, and the events are a chain."""
    campaign = api.armed()
    commands = ("pause", "start", "stop", "archive", "unarchive")

    async def send(client: httpx.AsyncClient, n: int) -> httpx.Response:
        return await client.post(f"/campaigns/{campaign['id']}/{commands[n % len(commands)]}")

    answers = await at_once(api, send)
    assert {answer.status_code for answer in answers} <= {200, 400}
    changed = [a for a in answers if a.status_code == 200 and a.json()["changed"]]
    events = api.events(campaign)
    assert len(events) == len(changed) + 2
    status = "draft"
    for event in events[1:]:
        assert event["from_status"] == status
        status = event["to_status"]
    assert status == api.status(campaign)
