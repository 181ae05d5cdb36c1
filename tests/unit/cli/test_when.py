"""Times as an operator types them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from daemon.cli.when import parse_length, parse_when, resolve_when
from daemon.domain.schedule.timezones import zone

NOW = datetime(2026, 11, 28, 7, 0, tzinfo=UTC)
"""Saturday, 08:00 in Paris."""


@pytest.mark.parametrize(
    ("text", "latest", "next_one"),
    [
        ("09:00", "2026-11-27T09:00", "2026-11-28T09:00"),
        ("07:30", "2026-11-28T07:30", "2026-11-29T07:30"),
        ("7:30:15", "2026-11-28T07:30:15", "2026-11-29T07:30:15"),
        ("yesterday 09:00", "2026-11-27T09:00", "2026-11-27T09:00"),
        ("today 09:00", "2026-11-28T09:00", "2026-11-28T09:00"),
        ("Tomorrow 9:00", "2026-11-29T09:00", "2026-11-29T09:00"),
        ("yesterday", "2026-11-27T00:00", "2026-11-27T00:00"),
        ("monday 06:00", "2026-11-23T06:00", "2026-11-30T06:00"),
        ("sat 09:00", "2026-11-21T09:00", "2026-11-28T09:00"),
        ("2026-11-30 06:00", "2026-11-30T06:00", "2026-11-30T06:00"),
        ("2026-11-30T06:00", "2026-11-30T06:00", "2026-11-30T06:00"),
        ("2026-11-30", "2026-11-30T00:00", "2026-11-30T00:00"),
        ("2026-11-30T05:00Z", "2026-11-30T06:00", "2026-11-30T06:00"),
    ],
)
def test_a_time_is_the_latest_or_the_next_one_in_the_zone(
    text: str, latest: str, next_one: str
) -> None:
    paris = zone("Europe/Paris")
    for past, wanted in ((True, latest), (False, next_one)):
        found = resolve_when(parse_when(text, "--at"), NOW, paris, past=past, hint="--at")
        assert found.astimezone(paris).replace(tzinfo=None).isoformat() == (
            datetime.fromisoformat(wanted).isoformat()
        )


@pytest.mark.parametrize(
    "text", ["", "soon", "9", "25:00", "yesterday noon", "mo 09:00", "a b 9:00"]
)
def test_another_text_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="yesterday 09:00"):
        parse_when(text, "--at")


def test_a_text_without_seconds_means_the_whole_minute() -> None:
    assert parse_when("09:00", "").span == timedelta(minutes=1)
    assert parse_when("09:00:30", "").span == timedelta(seconds=1)


def test_a_length_of_time_has_one_unit() -> None:
    assert parse_length("90m") == timedelta(minutes=90)
    assert parse_length("2w") == timedelta(weeks=2)
    assert parse_length("1h30m") is None
