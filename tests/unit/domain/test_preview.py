"""Preview: the answer to a case, and an answer to every line of any content."""

from __future__ import annotations

import io
import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.cli.commands.preview import answer_cases
from daemon.domain.preview import LONGEST_LINE, preview_case, preview_line


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


NOW = at("2026-01-01T00:00Z")
DAILY = {"schedule_type": "recurring", "recurring_config": {"frequency": "daily", "time": "09:00"}}


def answer(**case: Any) -> dict[str, Any]:
    return preview_case({"id": "x", "schedule": DAILY, **case}, NOW)


def run(data: bytes, table: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    return answer_cases(io.BytesIO(data), out, NOW, table), out.getvalue()


def test_the_interfaces_example() -> None:
    body = {
        "schedule_type": "recurring",
        "recurring_config": {"frequency": "weekly", "days_of_week": [1, 3], "time": "09:00"},
    }
    case = {
        "id": 7,
        "after": "2026-01-01T00:00:00Z",
        "count": 2,
        "campaign": {"type": "recurring", "timezone": "America/New_York"},
        "schedule": body,
    }
    expected = {"id": 7, "occurrences": ["2026-01-05T14:00:00Z", "2026-01-07T14:00:00Z"]}
    assert preview_case(case, at("2031-01-01T00:00Z")) == expected


def test_defaults() -> None:
    found = answer()
    assert len(found["occurrences"]) == 10
    assert found["occurrences"][0] == "2026-01-01T09:00:00Z"
    assert preview_case({"schedule": DAILY}, NOW)["id"] is None
    assert answer(count=None, after=None, campaign=None) == found
    assert len(answer(count=10_000)["occurrences"]) == 10_000


def test_occurrences_are_strictly_after() -> None:
    found = answer(after="2026-01-01T09:00:00Z", count=1)
    assert found["occurrences"] == ["2026-01-02T09:00:00Z"]


def test_a_naive_after_is_wall_clock_time_in_the_schedules_zone() -> None:
    body = {**DAILY, "timezone": "Asia/Tokyo"}
    assert answer(schedule=body, after="2026-01-05T08:59", count=1)["occurrences"] == [
        "2026-01-05T00:00:00Z"
    ]
    assert answer(schedule=body, after="2026-01-05T09:00", count=1)["occurrences"] == [
        "2026-01-06T00:00:00Z"
    ]


def test_microseconds_are_written_only_when_not_zero() -> None:
    body = {"startdate": "2026-02-01T00:00:00.5Z"}
    assert answer(schedule=body)["occurrences"] == ["2026-02-01T00:00:00.500000Z"]


def test_immediate_has_no_occurrences() -> None:
    assert answer(schedule={"schedule_type": "immediate"}) == {"id": "x", "occurrences": []}


def test_without_a_type_the_attributes_decide() -> None:
    start = "2026-02-01T00:00Z"
    once = answer(schedule={"startdate": start, "repeating_schedule_attributes": None})
    assert len(once["occurrences"]) == 1
    again = {"startdate": start, "repeating_schedule_attributes": {}}
    assert len(answer(schedule=again)["occurrences"]) == 10
    assert len(answer(schedule=again, campaign={"type": "one_time"})["occurrences"]) == 1
    assert len(answer(schedule=again, campaign={"timezone": "UTC"})["occurrences"]) == 10


def test_windows_have_two_ends() -> None:
    body = {"startdate": "2026-02-01T00:00Z", "enddate": "2026-02-02T12:00Z"}
    ends = {"launch_at": "2026-02-01T00:00:00Z", "complete_at": "2026-02-02T12:00:00Z"}
    runs = ["2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"]
    for kind, occurrences in (
        ("segment_triggered", runs),
        ("event_triggered", []),
        ("live_content", []),
    ):
        found = answer(schedule=body, campaign={"type": kind})
        assert found == {"id": "x", "occurrences": occurrences, **ends}
    endless = answer(schedule={"startdate": "2026-02-01T00:00Z"}, campaign={"type": "live_content"})
    assert endless["complete_at"] is None
    cleared = {"schedule_type": "immediate"}
    found = answer(schedule=cleared, campaign={"type": "live_content"})
    assert found == {"id": "x", "occurrences": []}


def test_a_campaign_may_hold_all_its_fields() -> None:
    campaign = dict.fromkeys(("id", "uuid", "name", "status", "target", "payload"), "anything")
    assert "occurrences" in answer(campaign=campaign)


@pytest.mark.parametrize(
    ("case", "status", "part"),
    [
        ({"count": 0}, 400, "count is 0, must be from 1 to 10000"),
        ({"count": 10_001}, 400, "count is 10001"),
        ({"count": True}, 400, "count is True"),
        ({"count": "5"}, 400, "count is '5'"),
        ({"after": "today"}, 400, "after is 'today'"),
        ({"after": 0}, 400, "after is 0"),
        ({"after": "2026-02-29T09:00Z"}, 400, "after is '2026-02-29T09:00Z', but there is no such"),
        ({"after": "2026-01-01"}, 400, "after is '2026-01-01'"),
        ({"after": "9999-12-31T23:59-10:00"}, 400, "after is '9999"),
        ({"schedule": None}, 400, "schedule can't be blank"),
        ({"schedule": []}, 400, "schedule is [], must be an object"),
        ({"schedule": {}}, 400, "startdate can't be blank"),
        ({"campaign": []}, 400, "campaign is [], must be an object"),
        ({"campaign": {"type": "weekly"}}, 400, "campaign.type is 'weekly'"),
        ({"campaign": {"type": 1}}, 400, "campaign.type is 1"),
        ({"campaign": {"timezone": "utc"}}, 400, "campaign.timezone is 'utc'"),
        ({"campaign": {"owner": 1}}, 400, "campaign.owner is unknown"),
        ({"from": 1}, 400, "from is unknown"),
        ({"schedule": {"startdate": "2025-01-01T00:00Z"}}, 422, "startdate is '2025"),
        ({"schedule": {"startdate": "2027-01-01T00:00Z", "x": 1}}, 400, "x is unknown"),
        ({"schedule": {"schedule_type": "cron"}}, 400, "schedule_type is 'cron'"),
        (
            {"schedule": {"schedule_type": "scheduled", "scheduled_at": "2025-01-01T00:00Z"}},
            400,
            "Scheduled time is in the past: scheduled_at",
        ),
        ({"campaign": {"type": "live_content"}}, 400, "update_schedule"),
    ],
)
def test_a_bad_case_is_answered_with_its_id(case: dict[str, Any], status: int, part: str) -> None:
    found = answer(**case)
    assert set(found) == {"id", "error"}
    assert found["id"] == "x"
    assert found["error"]["status"] == status
    assert part in found["error"]["message"]


DEEP = b"[" * 100_000
GOOD = json.dumps({"schedule": DAILY})[1:].encode()


@pytest.mark.parametrize(
    ("raw", "identity", "status", "part"),
    [
        (b"", None, 400, "empty"),
        (b"   \r", None, 400, "empty"),
        (b"null", None, 400, "must be an object"),
        (b"[1, 2]", None, 400, "must be an object"),
        (b'"text"', None, 400, "must be an object"),
        (b"123", None, 400, "must be an object"),
        (b"{", None, 400, "not JSON"),
        (b"}", None, 400, "not JSON"),
        (b"{'id': 1}", None, 400, "not JSON"),
        (b'{"id": 1', None, 400, "not JSON"),
        (b'{"id": 1,', 1, 400, "not JSON"),
        (b'{"id": "a", "schedule": {', "a", 400, "not JSON"),
        (b'{"id": 1} {"id": 2}', 1, 400, "Extra data"),
        (b'{"count": 1, "id": [1, {"a": 2}], oops', [1, {"a": 2}], 400, "not JSON"),
        (b'{"id": true, "count": NaN, ' + GOOD, True, 400, "NaN"),
        (b'{"count": NaN, "id": 9, ' + GOOD, 9, 400, "NaN"),
        (b'{"id": NaN, ' + GOOD, None, 400, "NaN"),
        (b'{"id": 1, "count": -Infinity, ' + GOOD, 1, 400, "-Infinity"),
        (b'{"id": 1, "count": 1e999, ' + GOOD, 1, 400, "1e999"),
        (b'{"id": -1e999, ' + GOOD, None, 400, "-1e999"),
        (b'{"id": 2, "count": ' + b"9" * 5000 + b", " + GOOD, 2, 400, "too many digits"),
        (b'{"count": ' + b"9" * 5000 + b', "id": 2, ' + GOOD, 2, 400, "too many digits"),
        (b'{"id": ' + b"9" * 5000 + b", " + GOOD, None, 400, "too many digits"),
        (b'{"id": 3, "after": "\\ud800", ' + GOOD, 3, 400, "lone surrogate"),
        (b'{"id": 3, "\\udfff": 1, ' + GOOD, 3, 400, "lone surrogate"),
        (b'{"id": "\\ud800", ' + GOOD, None, 400, "lone surrogate"),
        (b'{"id": 4, "after": "\xff", ' + GOOD, 4, 400, "not UTF-8 at byte 20"),
        (b'{"id": "\xff", ' + GOOD, None, 400, "not UTF-8"),
        (b'{"id": "\xed\xa0\x80", ' + GOOD, None, 400, "not UTF-8"),
        (b'{"id": 5, "schedule": ' + DEEP, 5, 400, "nested too deeply"),
        (DEEP, None, 400, "nested too deeply"),
        (b'{"id": ' + DEEP, None, 400, "nested too deeply"),
        (b'{"id": 6, "pad": "' + b"a" * LONGEST_LINE + b'"}', 6, 413, "longer than 262144"),
        (b" " * LONGEST_LINE + b" ", None, 413, "longer than"),
        (b'{"id": 8}\x00', 8, 400, "not JSON"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_unreadable_line_is_answered_with_its_number(
    raw: bytes, identity: object, status: int, part: str
) -> None:
    code, out = run(b"\n" * 41 + raw + b"\n")
    assert code == 0
    found = json.loads(out.splitlines()[41])
    assert found["id"] == identity
    assert found["line"] == 42
    assert found["error"]["status"] == status
    assert part in found["error"]["message"]
    assert out.isascii()


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id": {"a": [1.5, null]}, ' + GOOD,
        b'\xef\xbb\xbf{"id": {"a": [1.5, null]}, ' + GOOD,
        b'  {"id": {"a": [1.5, null]}, ' + GOOD + b" \r",
        b'{"id": {"a": [1.5, null]}, ' + GOOD + b" " * (LONGEST_LINE - len(GOOD) - 26 - 1) + b"\r",
    ],
    ids=["plain", "mark", "spaces", "longest"],
)
def test_a_readable_line_is_read(raw: bytes) -> None:
    _, out = run(raw + b"\n")
    found = json.loads(out)
    assert found["id"] == {"a": [1.5, None]}
    assert len(found["occurrences"]) == 10


def test_every_line_has_one_answer_and_the_last_needs_no_newline() -> None:
    line = json.dumps({"id": 1, "schedule": DAILY}).encode()
    too_long = b"x" * (3 * LONGEST_LINE)
    exact = b" " * LONGEST_LINE
    lines = [line, b"", too_long, line, exact, exact + b" ", line]
    code, out = run(b"\n".join(lines))
    found = [json.loads(each) for each in out.splitlines()]
    assert code == 0
    assert ["occurrences" in each for each in found] == [True, False, False, True] + [False] * 2 + [
        True
    ]
    assert [each.get("line") for each in found] == [None, 2, 3, None, 5, 6, None]
    statuses = [each["error"]["status"] for each in found if "error" in each]
    assert statuses == [400, 413, 400, 413]
    assert run(b"") == (0, "")


def test_an_id_nested_to_the_limit_still_gets_an_answer() -> None:
    for depth in range(300, 1500, 7):
        raw = b'{"id": ' + b"[" * depth + b"]" * depth + b", " + GOOD
        _, out = run(raw)
        # Compared as text, because decoding such an answer can fail in the test too.
        assert out.startswith('{"id": null, "error"') or '"occurrences"' in out


def test_the_table_is_for_people() -> None:
    lines = [
        {"id": "[red]a", "schedule": DAILY},
        {"id": 2, "schedule": {}},
        {"id": 3, "schedule": {"schedule_type": "immediate"}},
        {
            "id": 4,
            "campaign": {"type": "live_content"},
            "schedule": {"startdate": "2026-02-01T00:00Z"},
        },
    ]
    code, out = run("\n".join(map(json.dumps, lines)).encode(), table=True)
    assert code == 0
    for part in ("[red]a", "2026-01-01T09:00:00Z", "8 more", "blank", "no runs", "no end"):
        assert part in out


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "id", "after", "count", "campaign", "schedule", "type", "timezone", "schedule_type",
        "scheduled_at", "recurring_config", "frequency", "interval", "days_of_week", "time",
        "startdate", "enddate", "repeating_schedule_attributes", "interval_unit", "coalesce",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    ["recurring", "scheduled", "daily", "monthly", "UTC", "2027-01-01T00:00", "09:00", "week", 1, 5]
)
OBJECTS = st.recursive(
    WORDS | JSON,
    lambda inner: st.dictionaries(KEYS, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=500)
@given(st.dictionaries(KEYS, OBJECTS, max_size=5))
def test_any_object_is_answered(case: dict[str, Any]) -> None:
    _, out = run(json.dumps(case).encode())
    found = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert ("occurrences" in found) != ("error" in found)
    if "error" in found:
        assert found["error"]["status"] in (400, 422)
        assert found["error"]["message"]


EDGES = st.sampled_from(
    [
        "0001-01-01T00:00", "0001-01-01T00:00Z", "0001-01-01T23:59:59.999999", "0001-01-02T12:00Z",
        "0001-01-01T00:00+14:00", "9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999Z",
        "9999-12-31T00:00", "9999-12-30T12:00Z", "9999-12-31T23:00-12:00", "2026-01-01T00:00Z",
    ]
)  # fmt: skip


@settings(max_examples=500)
@given(
    EDGES,
    st.sampled_from(["UTC", "America/New_York", "Pacific/Kiritimati", "Etc/GMT+12"]),
    st.sampled_from(["recurring", "segment_triggered", "one_time"]),
    st.fixed_dictionaries(
        {"schedule_type": st.just("recurring")},
        optional={
            "scheduled_at": EDGES,
            "recurring_config": st.fixed_dictionaries(
                {
                    "frequency": st.sampled_from(["daily", "weekly", "monthly"]),
                    "time": st.sampled_from(["00:00", "12:00", "23:59"]),
                    "days_of_week": st.sampled_from([[1], [5, 7]]),
                    "day_of_month": st.sampled_from([1, 31]),
                },
                optional={"end_date": EDGES | EDGES.map(lambda text: text[:10])},
            ),
        },
    )
    | st.fixed_dictionaries(
        {"startdate": EDGES},
        optional={
            "enddate": EDGES,
            "recurring_schedule": st.just("continuously"),
            "repeating_schedule_attributes": st.fixed_dictionaries(
                {"interval_unit": st.sampled_from(["day", "week", "month"])}
            ),
        },
    ),
)
def test_at_the_ends_of_time_there_is_an_answer_too(
    after: str, timezone: str, kind: str, body: dict[str, Any]
) -> None:
    found = answer(after=after, campaign={"timezone": timezone, "type": kind}, schedule=body)
    assert ("occurrences" in found) != ("error" in found)
    runs = found.get("occurrences", [])
    assert runs == sorted(set(runs))


@settings(max_examples=500)
@given(st.binary(max_size=60) | st.text('{}[]":,0aid\\u', max_size=30).map(str.encode))
def test_any_bytes_are_answered(raw: bytes) -> None:
    found = preview_line(raw, 3, NOW)
    assert found["error"]["status"] == 400
    json.dumps(found, allow_nan=False).encode()
