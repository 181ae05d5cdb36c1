"""What the commands read over HTTP means what it means in the database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.cli.remote.commands import patch_between
from daemon.cli.remote.values import schedule_of
from daemon.domain.campaign.edit_request import merge_patch
from daemon.domain.campaign.model import Campaign, Snapshot
from daemon.domain.campaign.schedule_fields import read_only_fields
from daemon.domain.campaign.state_machine import Status
from daemon.domain.requests import CurrentSchedule
from daemon.domain.schedule.schedule import CampaignType
from tests.unit.domain.schedule.test_words import NOW, cases, schedule_of_body

OBJECTS = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("abcd"), OBJECTS),
    st.dictionaries(st.sampled_from("abcd"), OBJECTS),
)
def test_a_merge_patch_makes_one_payload_of_another(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert merge_patch(before, patch_between(before, after)) == after


def test_a_null_that_no_merge_patch_can_say_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="null"):
        patch_between({"a": 1}, {"a": 1, "b": None})
    assert patch_between({"a": None}, {"a": None}) == {}


@settings(max_examples=150)
@given(cases(), st.integers(0, 900))
def test_a_schedule_that_is_read_again_has_the_same_occurrences(
    case: tuple[CampaignType, dict[str, Any]], days: int
) -> None:
    """Also where intervals count from a first occurrence that the body does not name."""
    kind, body = case
    parsed = schedule_of_body(kind, body)
    if parsed is None or parsed.schedule is None:
        return
    campaign = Campaign(1, UUID(int=1), "c", parsed.campaign_type, Status.SCHEDULED)
    current = CurrentSchedule(parsed.source, parsed.body, parsed.schedule)
    snapshot = Snapshot(campaign, NOW, current, revision=3, saved_at=NOW + timedelta(days=1))
    item = {
        **parsed.body,
        "timezone": parsed.schedule.timezone,
        **read_only_fields(snapshot),
    }
    found = schedule_of(item, campaign)
    assert found is not None
    after = NOW + timedelta(days=days)
    assert found.schedule.occurrences(after, 5) == parsed.schedule.occurrences(after, 5)
