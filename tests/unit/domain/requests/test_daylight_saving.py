"""The `dst` object: read, refused, and written in its canonical form."""

from __future__ import annotations

from datetime import datetime

import pytest

from daemon.domain.errors import InvalidInput
from daemon.domain.requests.context import EXTRAS
from daemon.domain.requests.daylight_saving import DST, canonical_dst, policy_of, skipped_start
from daemon.domain.requests.save_schedule import SAVE_SCHEDULE
from daemon.domain.requests.update_schedule import UPDATE_SCHEDULE
from daemon.domain.schedule.daylight_saving import DEFAULT, DaylightSaving, Fold, Gap

NEW_YORK = "America/New_York"
SKIP = DaylightSaving(gap=Gap.SKIP)


@pytest.mark.parametrize(
    ("body", "policy", "canonical"),
    [
        ({}, None, None),
        ({"gap": "shift", "fold": "first"}, None, None),
        ({"gap": None, "fold": "both"}, DaylightSaving(fold=Fold.BOTH), {"fold": "both"}),
        ({"gap": "skip"}, SKIP, {"gap": "skip"}),
        (
            {"gap": "before", "fold": "second"},
            DaylightSaving(Gap.BEFORE, Fold.SECOND),
            {"gap": "before", "fold": "second"},
        ),
    ],
)
def test_a_policy_is_read_and_written(
    body: dict[str, str], policy: DaylightSaving | None, canonical: dict[str, str] | None
) -> None:
    read = policy_of(DST.read_whole_body(body, "Invalid"))
    assert read == policy
    assert canonical_dst(read) == canonical
    assert policy_of(DST.read_whole_body(canonical or {}, "Invalid")) == policy
    assert canonical_dst(DEFAULT) is None


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"gap": "later"}, "gap is 'later', must be one of shift, before, skip"),
        ({"fold": 2}, "fold is 2, must be one of first, second, both"),
        ({"overlap": "first"}, "overlap is unknown, known are fold, gap"),
        ("skip", "body is 'skip', must be an object"),
    ],
)
def test_a_wrong_policy_is_refused(body: object, detail: str) -> None:
    with pytest.raises(InvalidInput) as error:
        DST.read_whole_body(body, "Invalid")
    assert error.value.detail == detail


def test_a_naive_start_that_would_be_skipped_has_a_fault() -> None:
    start = datetime.fromisoformat("2026-03-08T02:30:00")
    fault = "2026-03-08T02:30:00 does not exist in America/New_York, so it would be skipped"
    assert skipped_start(start, NEW_YORK, SKIP) == fault
    assert skipped_start(start, NEW_YORK, None) is None
    assert skipped_start(start, NEW_YORK, DaylightSaving(gap=Gap.BEFORE)) is None
    assert skipped_start(start, "UTC", SKIP) is None
    assert skipped_start(start.replace(hour=3), NEW_YORK, SKIP) is None
    assert skipped_start(datetime.fromisoformat("2026-03-08T02:30Z"), NEW_YORK, SKIP) is None


def test_both_bodies_have_the_field() -> None:
    assert "dst" in SAVE_SCHEDULE.names & UPDATE_SCHEDULE.names & EXTRAS.names
