"""The patch of a campaign's own fields."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from daemon.domain.campaign.edit_request import (
    content_tag,
    edit_notes,
    merge_patch,
    read_campaign_patch,
    require_editable,
)
from daemon.domain.campaign.model import Campaign, Snapshot
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import InvalidInput, Refused
from daemon.domain.requests import BodyContext, CurrentSchedule, read_schedule_body
from daemon.domain.schedule.schedule import CampaignType

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CAMPAIGN = Campaign(
    7,
    UUID(int=7),
    "Letter",
    CampaignType.ONE_TIME,
    Status.SCHEDULED,
    "Europe/Paris",
    "log",
    {"template": "a", "from": {"name": "Ann", "reply": True}},
)
TARGETS = ["crm", "log"]


def read(body: object, **more: Any) -> dict[str, Any]:
    return read_campaign_patch(body, CAMPAIGN, TARGETS, **more)


def snapshot(status: Status = Status.SCHEDULED, zone: str | None = None, **facts: Any) -> Snapshot:
    body = {"schedule_type": "scheduled", "scheduled_at": "2031-01-01T09:00"}
    if zone is not None:
        body["timezone"] = zone
    saved = read_schedule_body(body, BodyContext(NOW, CampaignType.ONE_TIME, "Europe/Paris"))
    assert saved.schedule is not None
    current = CurrentSchedule(saved.source, saved.body, saved.schedule)
    return Snapshot(replace(CAMPAIGN, status=status, **facts), NOW, current)


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({}, {}),
        ({"name": "Letter", "target": "log"}, {}),
        ({"name": "Note"}, {"name": "Note"}),
        ({"target": "crm", "timezone": "UTC"}, {"timezone": "UTC", "target": "crm"}),
        ({"payload": {}}, {}),
        ({"payload": None}, {"payload": {}}),
        (
            {"payload": {"template": "b", "from": {"name": None}}},
            {"payload": {"template": "b", "from": {"reply": True}}},
        ),
        (
            {"payload": {"from": {"reply": 1}}},
            {"payload": {"template": "a", "from": {"name": "Ann", "reply": 1}}},
        ),
    ],
)
def test_only_what_differs_changes(patch: dict[str, Any], changed: dict[str, Any]) -> None:
    values = read(patch)
    assert values == changed
    assert repr(values) == repr(changed), "1 is not true"


def test_a_payload_can_be_replaced_as_a_whole() -> None:
    assert read({"payload": {"n": 1}}, replace_payload=True) == {"payload": {"n": 1}}


@pytest.mark.parametrize(
    ("patch", "field", "fault"),
    [
        ([], "body", "must be an object"),
        ({"name": None}, "name", "can't be blank"),
        ({"name": ""}, "name", "can't be blank"),
        ({"target": None}, "target", "can't be blank"),
        ({"timezone": None}, "timezone", "can't be blank"),
        ({"timezone": "Mars"}, "timezone", "must be an IANA time zone name"),
        ({"target": "crn"}, "target", "must be one of crm, log"),
        ({"payload": [1]}, "payload", "must be an object"),
        ({"payload": {"more": "x" * 70_000}}, "payload", "must have at most 65536"),
        ({"status": "paused"}, "status", "known are name, payload, target, timezone"),
    ],
)
def test_faults_name_the_field(patch: object, field: str, fault: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(patch)
    assert (refused.value.status, list(refused.value.errors)) == (400, [field])
    assert fault in refused.value.errors[field][0]


def test_the_merge_of_rfc_7396() -> None:
    """The example of the RFC's section 3."""
    before = {
        "title": "Goodbye!",
        "author": {"givenName": "John", "familyName": "Doe"},
        "tags": ["example", "sample"],
        "content": "This will be unchanged",
    }
    patch = {
        "title": "Hello!",
        "phoneNumber": "+01-123-456-7890",
        "author": {"familyName": None},
        "tags": ["example"],
    }
    assert merge_patch(before, patch) == {
        "title": "Hello!",
        "author": {"givenName": "John"},
        "tags": ["example"],
        "content": "This will be unchanged",
        "phoneNumber": "+01-123-456-7890",
    }


def test_an_archived_campaign_stays_as_it_is() -> None:
    with pytest.raises(Refused, match="unarchive it first"):
        require_editable(snapshot(Status.ARCHIVED), {"name": "b"})
    require_editable(snapshot(Status.ARCHIVED), {})


def test_an_open_run_keeps_its_target() -> None:
    busy = snapshot(Status.EXECUTING, open_runs=1)
    with pytest.raises(Refused, match="a run for log is open"):
        require_editable(busy, {"target": "crm"})
    require_editable(busy, {"payload": {"n": 1}, "name": "b"})
    assert "the next one this" in edit_notes(busy, {"payload": {"n": 1}})[0]
    require_editable(snapshot(), {"target": "crm"})


def test_a_schedule_never_moves_by_the_campaigns_zone() -> None:
    with pytest.raises(Refused, match="takes its zone, Europe/Paris, from the campaign"):
        require_editable(snapshot(), {"timezone": "UTC"})
    with_zone = snapshot(zone="Asia/Tokyo")
    require_editable(with_zone, {"timezone": "UTC"})
    assert edit_notes(with_zone, {"timezone": "UTC"}) == [
        "The schedule stays in Asia/Tokyo; save it again to move it."
    ]


def test_the_tag_differs_with_each_field() -> None:
    others = [
        CAMPAIGN,
        replace(CAMPAIGN, name="b"),
        replace(CAMPAIGN, target="crm"),
        replace(CAMPAIGN, timezone="UTC"),
        replace(CAMPAIGN, payload={}),
    ]
    assert len({content_tag(each) for each in others}) == len(others)
    assert content_tag(CAMPAIGN) == content_tag(replace(CAMPAIGN, status=Status.PAUSED))
