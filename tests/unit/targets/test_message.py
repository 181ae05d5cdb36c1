"""The message that every target delivers: its bytes, and payloads of every kind."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st

from daemon.targets.message import CONTENT_TYPES, encoded_message, instant_text, message
from tests.support.builders import new_attempt
from tests.support.clocks import NOON

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def nested(levels: int) -> Any:
    """Return a list inside of lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def test_the_message_is_compact_utf_8_in_the_documented_order() -> None:
    assert encoded_message(new_attempt()).decode() == (
        '{"type":"campaign.run","timestamp":"2026-06-01T12:00:00.000000Z",'
        f'"data":{{"run_id":"{new_attempt().run_id}","attempt":1,"campaign_id":7,'
        f'"campaign_uuid":"{new_attempt().campaign_uuid}","campaign_name":"Sommer 🌞",'
        '"scheduled_for":"2026-06-01T12:00:00.000000Z","target":"crm",'
        '"payload":{"segment":12,"text":"Grüße"}}}'
    )


def test_a_cloud_event_is_read_by_the_public_package() -> None:
    """Every attempt has the same source and id, by which a receiver recognises a repeat."""
    events = [
        from_http_event(
            HTTPMessage(
                {"Content-Type": CONTENT_TYPES["cloudevents"]},
                encoded_message(new_attempt(number=number), "cloudevents"),
            )
        )
        for number in (1, 2)
    ]
    for event in events:
        assert event.get_specversion() == "1.0"
        assert event.get_id() == str(new_attempt().run_id)
        assert event.get_source() == f"/campaignd/campaigns/{new_attempt().campaign_uuid}"
        assert event.get_type() == "campaign.run"
        assert event.get_time() == NOON
        assert event.get_datacontenttype() == "application/json"
    assert [event.get_data()["attempt"] for event in events] == [1, 2]
    assert events[0].get_data() == message(new_attempt())["data"]


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_every_payload_arrives_as_it_was_stored(payload: dict[str, Any]) -> None:
    attempt = new_attempt(payload=payload)
    assert json.loads(encoded_message(attempt)) == message(attempt)


@pytest.mark.parametrize(
    "value",
    [2**64 - 1, 2**64, -(2**63) - 1, 10**4000, nested(300), [2**64, {"Grüße": "\u2028\x7f\0"}]],
    ids=["largest", "larger", "smaller", "long", "deep", "text beside a large integer"],
)
def test_payloads_beyond_the_limits_of_the_fast_encoder(value: Any) -> None:
    """jsonb has integers of any length, and more levels; none of them may be changed or refused."""
    attempt = new_attempt(payload={"value": value})
    text = encoded_message(attempt).decode()
    assert json.loads(text) == message(attempt)
    assert '"scheduled_for":"2026-06-01T12:00:00.000000Z","target":"crm","payload":{"value"' in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NOON, "2026-06-01T12:00:00.000000Z"),
        (NOON.astimezone(timezone(timedelta(hours=2))), "2026-06-01T12:00:00.000000Z"),
        (NOON + timedelta(microseconds=1), "2026-06-01T12:00:00.000001Z"),
    ],
)
def test_instants_are_in_utc_with_microseconds(value: datetime, text: str) -> None:
    assert instant_text(value) == text
