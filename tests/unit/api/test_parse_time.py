"""Reading a request's body takes time in proportion to its bytes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import product
from string import ascii_lowercase
from typing import Any

import pytest

from daemon.api.ports import ApiOptions
from daemon.api.request_models import COMPLETE_REQUEST, FAIL_REQUEST, NEW_KEY
from daemon.api.requests import parse_json
from daemon.domain.campaign.create_request import NEW_CAMPAIGN
from daemon.domain.errors import InvalidInput
from daemon.domain.requests import BodyContext, read_schedule_body, read_update_body
from daemon.domain.requests.declaration import Body
from daemon.domain.requests.save_schedule import SAVE_SCHEDULE
from daemon.domain.requests.update_schedule import UPDATE_SCHEDULE
from daemon.domain.schedule.schedule import CampaignType

LIMIT = ApiOptions().body_limit
CONTEXT = BodyContext(
    now=datetime(2026, 1, 1, tzinfo=UTC),
    campaign_type=CampaignType.RECURRING,
    campaign_timezone="UTC",
    continuous_interval=300,
    misfire_grace_time=3600,
    current=None,
)
READERS: dict[str, Callable[[Any], object]] = {
    "save": lambda value: read_schedule_body(value, CONTEXT),
    "update": lambda value: read_update_body(value, CONTEXT),
    "campaign": lambda value: NEW_CAMPAIGN.read_whole_body(value, "invalid"),
    "key": lambda value: NEW_KEY.read_whole_body(value, "invalid"),
    "complete": lambda value: COMPLETE_REQUEST.read_whole_body(value, "invalid"),
    "fail": lambda value: FAIL_REQUEST.read_whole_body(value, "invalid"),
}


def _names(count: int) -> list[str]:
    letters = product(ascii_lowercase, repeat=4)
    return ["".join(next(letters)) for _ in range(count)]


_FIELDS = ",".join(f'"{name}":0' for name in _names(LIMIT // 9 - 20))
_TEXTS = ("9", "0", "a", "-", ":", " ", "2026-01-01T", "é", "\\u0301", "\\\\", "/", "America/")
_ARRAYS = ("1", '"mon"', '"x"', "{}", "[]", "1e308", "9" * 4000, '{"a":1}')
_BODIES = (SAVE_SCHEDULE, UPDATE_SCHEDULE, NEW_CAMPAIGN, NEW_KEY, FAIL_REQUEST)
_FIELDS_OF = {name: field for body in _BODIES for name, field in body.fields.items()}
_NESTED = {n: f.form for n, f in _FIELDS_OF.items() if isinstance(f.form, Body)}
_OUTER = sorted(_NESTED)
_KNOWN = sorted(_FIELDS_OF.keys() | {name for body in _NESTED.values() for name in body.fields})


def _filled(unit: str, joint: str = "") -> str:
    return joint.join([unit] * ((LIMIT - 200) // len((unit + joint).encode())))


BODIES = {
    "last field twice": f'{{{_FIELDS},"last":0,"last":0}}',
    "fields": f"{{{_FIELDS}}}",
    "one field twice": "{" + _filled('"a":0', ",") + "}",
    "brackets": "[" * LIMIT,
    "braces": _filled('{"a":'),
    "digits": "1" * LIMIT,
    "quotes": _filled('"'),
    "blanks": " " * LIMIT,
    "escapes": '{"name":"' + _filled("\\u0041") + '"}',
    "surrogates": '{"name":"' + _filled("\\ud800") + '"}',
    "bytes": "\x00" * LIMIT,
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_of_the_full_size_is_read_quickly(name: str) -> None:
    """Neither many fields nor deep nesting nor long numbers take more than proportional time."""
    raw = BODIES[name].encode()
    assert len(raw) <= LIMIT
    assert _seconds(raw) < 0.7


def test_a_field_of_the_full_size_is_read_quickly() -> None:
    """Each known field with a long text, array or object is read or refused quickly."""
    texts = [f'"{_filled(text)}"' for text in _TEXTS]
    arrays = [f"[{_filled(item, ',')}]" for item in _ARRAYS]
    values = [parse_json(text.encode(), "invalid") for text in texts + arrays]
    slow = []
    for field, value in product(_KNOWN, values):
        for body in ({field: value}, {outer: {field: value} for outer in _OUTER}):
            for name, read in READERS.items():
                began = time.thread_time()
                with contextlib.suppress(InvalidInput):
                    read(body)
                if time.thread_time() - began > 0.3:
                    slow.append((name, field, str(value)[:20], time.thread_time() - began))
    assert not slow


def _seconds(raw: bytes) -> float:
    """Return the processor time of reading a body, and of each reader on its value."""
    began = time.thread_time()
    with contextlib.suppress(InvalidInput):
        value = parse_json(raw, "invalid")
        for read in READERS.values():
            with contextlib.suppress(InvalidInput):
                read(value)
    return time.thread_time() - began


def test_a_field_given_twice_is_named() -> None:
    """The error names the first field that is given again."""
    with pytest.raises(InvalidInput, match="the field 'b' is given twice"):
        parse_json(json.dumps({"a": 1, "b": 2})[:-1].encode() + b',"b":3,"a":4}', "invalid")
