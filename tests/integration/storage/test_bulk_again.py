"""Import: lines of campaigns that exist already."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.support.bulk_files import (
    NEXT_MONDAY,
    NOW,
    ONE_OFF,
    WEEKLY,
    WINDOW,
    export_campaigns,
    import_line,
    load_lines,
    only_campaign,
)


async def test_loading_a_file_again_changes_nothing(database_url: str) -> None:
    given = [
        import_line("without uuid", WEEKLY),
        import_line("with uuid", ONE_OFF, uuid=str(uuid4())),
        import_line("a window", WINDOW, type="segment_triggered"),
        import_line("a draft", payload={"n": 1e23, "f": 0.1, "s": "é"}),
        import_line("without uuid", WEEKLY),
    ]
    first, _ = await load_lines(database_url, given)
    before = await export_campaigns(database_url)
    # The one-off is over at this instant, and its campaign may be in any status.
    second, bad = await load_lines(database_url, given, now=NOW + timedelta(days=40))
    assert (first.loaded, first.unchanged) == (4, 1)
    assert (second.loaded, second.unchanged, bad) == (0, 5, [])
    assert await export_campaigns(database_url) == before


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"name": "b"}, "name"),
        ({"payload": {"n": 2}}, "payload"),
        ({"target": "other"}, "target"),
        ({"timezone": "Asia/Tokyo"}, "timezone"),
        ({"schedule": ONE_OFF | {"scheduled_at": "2026-03-06T09:00:00Z"}}, "schedule"),
        ({"schedule": None}, "schedule"),
        ({"schedule": WEEKLY}, "type, schedule"),
        ({"defaults": {"misfire_grace_time": 60}}, "defaults"),
    ],
)
async def test_other_content_of_a_known_uuid(
    database_url: str, changes: dict[str, Any], names: str
) -> None:
    """The difference is reported, and applied only with update; then there is none."""
    given = import_line("a", ONE_OFF, uuid=str(uuid4()), payload={"n": 1})
    await load_lines(database_url, [given])
    before = await export_campaigns(database_url)
    changed = json.loads(json.dumps(given))
    for name, value in changes.items():
        (changed if name in ("schedule", "defaults") else changed["campaign"])[name] = value

    tally, bad = await load_lines(database_url, [changed])
    assert (tally.updated, tally.bad) == (0, 1)
    assert f"differs in {names}; --update applies the line" in bad[0][1]
    assert await export_campaigns(database_url) == before

    tally, bad = await load_lines(database_url, [changed], update=True)
    assert (tally.updated, bad) == (1, [])
    assert await export_campaigns(database_url) != before
    tally, bad = await load_lines(database_url, [changed])
    assert (tally.unchanged, bad) == (1, [])


async def test_an_update_of_a_draft_does_not_arm_it(database_url: str) -> None:
    given = import_line("a", ONE_OFF, uuid=str(uuid4()), status="draft")
    await load_lines(database_url, [given])
    await load_lines(database_url, [given | {"schedule": WEEKLY}], update=True)
    row = await only_campaign(database_url)
    assert (row.status, row.type, row.event) == ("draft", "recurring", None)


async def test_an_update_arms_from_now_on(database_url: str) -> None:
    given = import_line("a", ONE_OFF, uuid=str(uuid4()))
    await load_lines(database_url, [given])
    changed = given | {"schedule": WEEKLY, "anchor": "2026-02-02T09:00:00"}
    tally, bad = await load_lines(database_url, [changed], update=True)
    assert (tally.updated, bad) == (1, [])
    assert (await only_campaign(database_url)).fire_at == NEXT_MONDAY


async def test_an_update_that_the_status_forbids(database_url: str) -> None:
    given = import_line("a", WINDOW, uuid=str(uuid4()), type="segment_triggered")
    await load_lines(database_url, [given])
    changed = given | {"schedule": WINDOW | {"enddate": "2026-05-01T00:00:00Z"}}
    tally, bad = await load_lines(database_url, [changed], update=True)
    assert tally.bad == 1
    refusal = "cannot update the schedule of a launched segment_triggered campaign"
    assert refusal in bad[0][1]


async def test_one_uuid_with_two_contents_in_one_file(database_url: str) -> None:
    uuid = str(uuid4())
    tally, bad = await load_lines(
        database_url, [import_line("a", uuid=uuid), import_line("b", uuid=uuid)]
    )
    assert (tally.loaded, [number for number, _ in bad]) == (1, [2])
