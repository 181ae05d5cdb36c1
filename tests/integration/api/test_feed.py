"""The calendar feeds over HTTP, and the keys that open them."""

from __future__ import annotations

import icalendar
import pytest

from daemon.domain.api_keys import Scope
from tests.support.api_server import RunningApi, get_without_key

CALENDAR = "/api/v1/calendar.ics"


def events(text: str) -> list[str]:
    """Return the names of the events."""
    return [str(each["summary"]) for each in icalendar.Calendar.from_ical(text).walk("VEVENT")]


def test_i_4_a_feed_key_opens_the_feeds_and_nothing_else(api: RunningApi) -> None:
    feed, read = api.keys[Scope.FEED], api.keys[Scope.READ]
    made = api.create_armed_campaign(name="fed")
    one = f"/api/v1/campaigns/{made['id']}/calendar.ics"
    for path in (CALENDAR, one):
        answer = get_without_key(f"{api.url}{path}?days=3&key={feed}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
        assert answer.headers["cache-control"] == "private, max-age=300"
        assert events(answer.text).count("fed") in (2, 3)
        assert get_without_key(f"{api.url}{path}?key={read}").status_code == 401
        assert get_without_key(f"{api.url}{path}?key={feed}&key={feed}").status_code == 401
        with api.client(Scope.READ) as reader:
            assert reader.get(f"{api.url}{path}").status_code == 200
        with api.client(Scope.FEED) as by_header:
            assert by_header.get(f"{api.url}{path}").status_code == 200
    assert get_without_key(f"{api.url}/api/v1/campaigns?key={feed}").status_code == 401
    with api.client(Scope.FEED) as by_header:
        assert by_header.get("/campaigns").status_code == 403
        assert by_header.post(f"/campaigns/{made['id']}/pause").status_code == 403
    assert feed.encode() not in b"".join(api.process.lines)


def test_i_5_an_unchanged_calendar_is_not_sent_again(api: RunningApi) -> None:
    made = api.create_armed_campaign()
    path = f"/campaigns/{made['id']}/calendar.ics"
    first = api.http.get(path)
    again = api.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    api.http.post(f"/campaigns/{made['id']}/pause")
    changed = api.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert "[paused]" in changed.text


def test_i_8_what_is_not_to_come_is_not_in_the_feed(api: RunningApi) -> None:
    target = "log"
    draft = api.create_campaign(name="a draft that waits")
    ended = api.create_armed_campaign(name="an ended one")
    api.http.post(f"/campaigns/{ended['id']}/stop")
    everything = api.http.get("/calendar.ics", params={"target": target}).text
    assert {"a draft that waits", "an ended one"}.isdisjoint(events(everything))
    own = api.http.get(f"/campaigns/{draft['id']}/calendar.ics")
    assert (own.status_code, events(own.text)) == (200, [])
    assert events(api.http.get("/calendar.ics", params={"target": "none"}).text) == []


@pytest.mark.parametrize("days", ["0", "401", "x"])
def test_other_lengths_are_refused(api: RunningApi, days: str) -> None:
    assert api.http.get("/calendar.ics", params={"days": days}).status_code == 400
