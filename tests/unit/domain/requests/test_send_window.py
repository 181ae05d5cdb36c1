"""The bodies of send windows and calendars: values, and every fault with its place."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from daemon.api.request_models import component_schemas
from daemon.domain.errors import InvalidInput
from daemon.domain.requests.calendar_body import CALENDAR, read_calendar
from daemon.domain.requests.fields import MAX_LISTED, Faults
from daemon.domain.requests.send_window import SEND_WINDOW, send_window_of, unknown_calendar
from daemon.domain.schedule.calendars import Closure
from daemon.domain.schedule.send_window import Disposition, SendWindow
from daemon.domain.schedule.weekly_hours import Opening, weekly_hours

EXAMPLE = {
    "open": [{"days": [1, 2, 3, 4, 5], "start": "09:00", "end": "17:00"}],
    "calendars": ["us-holidays"],
    "except_dates": ["2026-12-24"],
    "timezone": "America/New_York",
    "outside": "next_window",
    "defer_at_most": 604800,
}


def read(body: dict[str, Any]) -> tuple[SendWindow | None, dict[str, list[str]], int]:
    faults = Faults()
    found = SEND_WINDOW.read_field(faults, "send_window", body)
    assert found is not None
    if not faults:
        return send_window_of(found), {}, 200
    error = faults.to_error("Invalid schedule values", 422)
    return None, error.errors, error.status


def test_the_example_of_the_specification_is_read() -> None:
    """Every field."""
    assert read(EXAMPLE)[0] == SendWindow(
        weekly_hours([Opening((1, 2, 3, 4, 5), 540, 1020)]),
        ("us-holidays",),
        (date(2026, 12, 24),),
        "America/New_York",
        Disposition.NEXT_WINDOW,
        604_800,
    )


def test_absent_fields_have_their_defaults() -> None:
    """Null means absent, and names and dates that are repeated count once."""
    dates = ["2026-12-25", "2026-12-24", "2026-12-25"]
    body = {"except_dates": dates, "calendars": ["b", "a", "b"], "open": None}
    assert read(body)[0] == SendWindow(
        None, ("b", "a"), (date(2026, 12, 24), date(2026, 12, 25)), None
    )
    whole = {"open": [{"start": "22:00", "end": "06:00"}, {"start": "00:00", "end": "24:00"}]}
    found = read(whole)[0]
    assert found is not None
    assert found.hours is not None
    assert found.hours.bounds == (0, 7 * 1440)


def test_an_empty_object_clears() -> None:
    assert read({}) == (None, {}, 200)


@pytest.mark.parametrize(
    ("body", "path", "text", "status"),
    [
        (
            {"open": [{"start": "09:00", "end": "09:00"}]},
            "send_window.open[0]",
            "start and end are both 09:00: a whole day is 00:00 to 24:00",
            422,
        ),
        ({"open": [{"start": "9:00", "end": "17:00"}]}, "send_window.open[0].start", "HH:MM", 400),
        ({"open": [{"start": "24:00", "end": "17:00"}]}, "send_window.open[0].start", "23:59", 400),
        ({"open": [{"start": "09:00", "end": "24:01"}]}, "send_window.open[0].end", "24:00", 400),
        ({"open": [{"start": "09:00", "end": 17}]}, "send_window.open[0].end", "is 17", 400),
        ({"open": [{"start": "09:00"}]}, "send_window.open[0].end", "can't be blank", 400),
        ({"open": [{"end": "09:00"}]}, "send_window.open[0].start", "can't be blank", 400),
        (
            {"open": [EXAMPLE["open"][0], {"days": [], "start": "01:00", "end": "02:00"}]},  # type: ignore[index]
            "send_window.open[1].days",
            "is empty",
            400,
        ),
        (
            {"open": [{"days": [0], "start": "01:00", "end": "02:00"}]},
            "send_window.open[0].days",
            "weekdays 1 to 7",
            400,
        ),
        (
            {"open": [{"start": "09:00", "end": "17:00", "at": 1}]},
            "send_window.open[0].at",
            "is unknown",
            400,
        ),
        ({"open": [7]}, "send_window.open[0]", "is 7, must be an object", 400),
        ({"open": [None]}, "send_window.open[0]", "can't be blank", 400),
        ({"open": []}, "send_window.open", "is empty, must hold 1 to 28 openings", 400),
        ({"open": {}}, "send_window.open", "must be an array", 400),
        (
            {"open": [{"start": "09:00", "end": "17:00"}] * 29},
            "send_window.open",
            "has 29 entries, must hold at most 28 openings",
            422,
        ),
        ({"calendars": ["Us"]}, "send_window.calendars[0]", "is 'Us', must be 1 to 63", 400),
        ({"calendars": ["a", 3]}, "send_window.calendars[1]", "is 3", 400),
        ({"calendars": "us"}, "send_window.calendars", "must be an array of names", 400),
        ({"calendars": ["a"] * 11}, "send_window.calendars", "at most 10 names", 422),
        ({"except_dates": ["2026-02-29"]}, "send_window.except_dates[0]", "no such day", 400),
        ({"except_dates": ["soon"]}, "send_window.except_dates[0]", "a date YYYY-MM-DD", 400),
        ({"except_dates": ["2026-12-24"] * 367}, "send_window.except_dates", "at most 366", 422),
        ({**EXAMPLE, "timezone": "Mars"}, "send_window.timezone", "IANA", 422),
        ({**EXAMPLE, "outside": "send"}, "send_window.outside", "next_window, hold, skip", 422),
        ({**EXAMPLE, "defer_at_most": 59}, "send_window.defer_at_most", "from 60 to 31622400", 422),
        ({**EXAMPLE, "defer_at_most": 60.0}, "send_window.defer_at_most", "an integer", 400),
        ({**EXAMPLE, "closed": []}, "send_window.closed", "is unknown", 400),
        (
            {"outside": "skip"},
            "send_window",
            "must have open, calendars or except_dates; {} clears it",
            422,
        ),
    ],
)
def test_a_faulty_window_is_refused(
    body: dict[str, Any], path: str, text: str, status: int
) -> None:
    """One fault each, at its place: 400 where the form is wrong, 422 where the value is."""
    _, errors, found = read(body)
    assert [*errors] == [path]
    assert text in errors[path][0]
    assert found == status


def test_an_unknown_calendar_is_named_with_a_likely_one() -> None:
    """A name that is like no other has no hint."""
    known = ["us-holidays", "fr-holidays"]
    assert unknown_calendar(["us-holidays"], known) is None
    assert unknown_calendar(["fr-holidays", "us-holiday"], known) == (
        "names 'us-holiday', which there is not; did you mean us-holidays?"
    )
    assert unknown_calendar(["x"], known) == "names 'x', which there is not"


def test_a_calendar_is_read() -> None:
    """Each kind of closure; instants are in UTC."""
    found = read_calendar(
        "shop",
        {
            "title": "The shop",
            "timezone": "Europe/Paris",
            "open": [{"start": "09:00", "end": "17:00"}],
            "closed": [
                {"on": "2026-12-24", "label": "Christmas Eve"},
                {"from": "2026-12-25", "to": "2026-12-26"},
                {"start": "2026-06-05T08:00", "end": "2026-06-05T10:00"},
                {"start": "2026-06-05T08:00+02:00", "end": "2026-06-05T10:00Z"},
            ],
            "covers_to": "2027-12-31",
        },
    )
    assert (found.name, found.title, found.timezone) == ("shop", "The shop", "Europe/Paris")
    assert found.hours == weekly_hours([Opening((1, 2, 3, 4, 5, 6, 7), 540, 1020)])
    assert found.covers_to == date(2027, 12, 31)
    assert found.closed == (
        Closure(date(2026, 12, 24), date(2026, 12, 24), "Christmas Eve"),
        Closure(date(2026, 12, 25), date(2026, 12, 26)),
        Closure(datetime(2026, 6, 5, 8), datetime(2026, 6, 5, 10)),  # noqa: DTZ001
        Closure(datetime(2026, 6, 5, 6, tzinfo=UTC), datetime(2026, 6, 5, 10, tzinfo=UTC)),
    )


PAIRS = "must have on, or from and to, or start and end"


@pytest.mark.parametrize(
    ("closure", "path", "text"),
    [
        ({}, "", PAIRS),
        ({"label": "x"}, "", PAIRS),
        ({"on": "2026-12-24", "to": "2026-12-25"}, "", PAIRS),
        ({"from": "2026-12-24"}, "", PAIRS),
        ({"start": "2026-12-24T09:00", "to": "2026-12-25"}, "", PAIRS),
        ({"on": "24.12.2026"}, ".on", "a date YYYY-MM-DD"),
        ({"from": "2026-12-26", "to": "2026-12-25"}, ".to", "is 2026-12-25, before from"),
        (
            {"start": "2026-12-24T09:00", "end": "2026-12-24T09:00"},
            ".end",
            "must be after start",
        ),
        (
            {"start": "2026-12-24T09:00", "end": "2026-12-24T10:00Z"},
            "",
            "an offset in both start and end, or in neither",
        ),
        (
            {"start": "2026-12-24T09:00Z", "end": "2026-12-24T10:00Z"},
            ".start",
            "has an offset, so the calendar must have a timezone",
        ),
        ({"on": "2026-12-24", "label": "x" * 101}, ".label", "at most 100"),
        ({"on": "2026-12-24", "text": "x"}, ".text", "is unknown"),
    ],
)
def test_a_faulty_closure_is_refused(closure: dict[str, Any], path: str, text: str) -> None:
    """In a floating calendar, with its place."""
    body = {"closed": [{"on": "2026-01-01"}, closure]}
    with pytest.raises(InvalidInput, match="closed") as refusal:
        read_calendar("x", body)
    assert refusal.value.message == "Invalid calendar"
    assert [*refusal.value.errors] == [f"closed[1]{path}"]
    assert text in refusal.value.errors[f"closed[1]{path}"][0]


@pytest.mark.parametrize(
    ("name", "body", "path"),
    [
        ("-x", {}, "name"),
        ("x" * 64, {}, "name"),
        ("X", {}, "name"),
        ("x", {"title": "x" * 201}, "title"),
        ("x", {"timezone": "CET-1"}, "timezone"),
        ("x", {"open": []}, "open"),
        ("x", {"covers_to": "2026"}, "covers_to"),
        ("x", {"closed": [{"on": "2026-01-01"}] * 10_001}, "closed"),
        ("x", {"hours": []}, "hours"),
        (
            "x",
            {
                "timezone": "UTC",
                "closed": [{"start": "0001-01-01T00:00+10:00", "end": "2026-01-01T00:00Z"}],
            },
            "closed[0].start",
        ),
    ],
)
def test_a_faulty_calendar_is_refused(name: str, body: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_calendar(name, body)
    assert [*refusal.value.errors] == [path]


def test_many_faults_are_bounded() -> None:
    """So that a refusal of ten thousand closures costs no more than one of twenty."""
    with pytest.raises(InvalidInput) as refusal:
        read_calendar("x", {"closed": [{"on": 1}] * 10_000})
    assert len(refusal.value.errors) == MAX_LISTED


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidInput, match="must be an object"):
        read_calendar("x", [])


def test_arrays_of_objects_have_a_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the bounds that the reader keeps, and the name that JSON has."""
    monkeypatch.setattr("daemon.api.request_models._BODIES", (SEND_WINDOW, CALENDAR))
    schemas = component_schemas()
    window = schemas["SendWindowConfig"]["properties"]
    assert window["open"]["anyOf"][0] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/HoursConfig"},
        "minItems": 1,
        "maxItems": 28,
    }
    assert window["calendars"]["anyOf"][0]["items"]["pattern"] == "^[a-z0-9][a-z0-9_-]{0,62}$"
    assert "from" in schemas["ClosureConfig"]["properties"]
    assert schemas["HoursConfig"]["required"] == ["start", "end"]
