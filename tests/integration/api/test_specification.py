"""The specification, checked by schemathesis and against the readers of the domain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.api.request_models import component_schemas, schema_reference
from daemon.domain.api_keys import Scope
from daemon.domain.errors import InvalidInput
from daemon.domain.requests import BodyContext, read_schedule_body, read_update_body
from daemon.domain.schedule.schedule import CampaignType
from tests.support.api_server import RunningApi, get_without_key, running_server

HOOKS = Path(__file__).parents[2] / "support" / "schemathesis_hooks.py"
LONG = os.environ.get("SCHEMATHESIS_EXAMPLES")
"""Number of examples for each operation; set by `make schemathesis`."""


@pytest.mark.timeout(3600 if LONG else 900)
@pytest.mark.slow
def test_schemathesis(tmp_path: Path, database_url: str) -> None:
    """No 5xx, no undocumented status, no schema violation; with all checks."""
    with running_server(tmp_path, database_url) as api:
        run_something(api)
        check(api, tmp_path)
        assert api.process.events_named("api_error") == []
        with api.client(Scope.ADMIN) as admin:  # the key is still valid
            assert admin.get("/keys").status_code == 200


def check(api: RunningApi, tmp_path: Path) -> None:
    """Run schemathesis against a server."""
    phases = ["--phases", "examples,coverage,fuzzing,stateful"] if LONG else []
    config = tmp_path / "schemathesis.toml"
    shutil.copy(Path(__file__).with_name("schemathesis.toml"), config)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            "--config-file",
            str(config),
            "run",
            f"{api.url}/openapi.json",
            "--header",
            f"Authorization: Bearer {api.keys[Scope.ADMIN]}",
            "--checks",
            "all",
            "--max-examples",
            LONG or "3",
            "--workers",
            "1",  # CPython 3.11 cannot make syntax trees in two threads (gh-106905)
            "--no-color",
            *(phases or ["--phases", "examples,coverage,fuzzing", "--seed", "1"]),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]


def run_something(api: RunningApi) -> None:
    """Campaigns and runs for the examples to find."""
    for kind in CampaignType:
        api.create_campaign(type=kind)
    api.http.post("/campaigns/1/start")


def test_the_examples_are_true(api: RunningApi) -> None:
    """Every example of a request body is accepted."""
    spec = get_without_key(f"{api.url}/openapi.json").json()
    for path, item in spec["paths"].items():
        if not path.endswith(("/schedule", "/campaigns", "/preview", "/update_schedule")):
            continue
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                campaign = api.create_campaign(type="recurring")
                where = path.replace("{ref}", str(campaign["id"]))
                where = where.replace("{campaign_id}", str(campaign["id"]))
                where = where.replace("{campaign_uuid}", campaign["uuid"])
                answer = api.http.request(method, api.url + where, json=example["value"])
                assert answer.status_code in (200, 201), (path, answer.text)


def schema_of(*names: str) -> dict[str, Any]:
    """Return the whole schema of bodies that match one of the named schemas."""
    return {
        "components": {"schemas": component_schemas()},
        "anyOf": [schema_reference(name) for name in names],
    }


CONTEXT = BodyContext(datetime(2026, 1, 1, tzinfo=UTC), CampaignType.RECURRING)


def refusal(
    parse: Any, body: dict[str, Any], kind: CampaignType = CampaignType.RECURRING
) -> InvalidInput | None:
    """Return the domain's refusal of a body, or None."""
    try:
        parse(body, CONTEXT._replace(campaign_type=kind))
    except InvalidInput as error:
        return error
    return None


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of these fields, also with null as a value."""
    return st.fixed_dictionaries({}, optional={k: st.none() | v for k, v in fields.items()})


def both(one: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Merge two objects."""
    return st.builds(lambda a, b: {**a, **b}, one, other)


EXTRAS = some(
    misfire_grace_time=st.integers(1, 31_536_000),
    coalesce=st.booleans(),
    overlap=st.sampled_from(["skip", "queue", "allow"]),
    timezone=st.sampled_from(["UTC", "Europe/Paris", "Asia/Kathmandu"]),
)
INSTANTS = st.builds(
    lambda at, form, offset: at.strftime(form) + offset,
    st.datetimes(datetime(2027, 1, 1), datetime(2090, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"]),
    st.sampled_from(["", "Z", "+05:45", "-0330"]),
)
CONFIGS = both(
    st.fixed_dictionaries(
        {
            "frequency": st.sampled_from(["daily", "weekly", "monthly"]),
            "time": st.times().map(lambda at: at.strftime("%H:%M")),
        }
    ),
    some(
        interval=st.integers(1, 999),
        days_of_week=st.lists(st.integers(1, 7), min_size=1, max_size=9),
        day_of_month=st.integers(1, 31),
        time_zone=st.sampled_from(["UTC", "America/New_York"]),
        end_date=INSTANTS | st.dates(date(2027, 1, 1)).map(str),
        skip=st.sampled_from(["backward", "omit"]),
    ),
)
SAVES = both(
    EXTRAS,
    st.one_of(
        st.fixed_dictionaries({"schedule_type": st.just("immediate")}),
        st.fixed_dictionaries({"schedule_type": st.just("scheduled"), "scheduled_at": INSTANTS}),
        st.fixed_dictionaries(
            {"schedule_type": st.just("recurring"), "recurring_config": CONFIGS},
            optional={"scheduled_at": INSTANTS},
        ),
    ),
)
UPDATES = both(
    EXTRAS,
    st.fixed_dictionaries(
        {"startdate": INSTANTS},
        optional={
            "enddate": INSTANTS | st.none(),
            "recurring_schedule": st.sampled_from(["daily", "continuously", "weekly", None]),
            "repeating_schedule_attributes": st.none()
            | some(
                interval_size=st.integers(0, 1000),
                interval_unit=st.sampled_from(["day", "week", "month", "year"]),
                days_of_week=st.lists(st.sampled_from(["mon", "wed", "sun", "monday"])),
                day_of_month=st.sampled_from(["nth_day", "nth_weekday", "last_day", "first_day"]),
            ),
        },
    ),
)


@given(body=SAVES)
def test_well_formed_saves(body: dict[str, Any]) -> None:
    """The schema allows every well-formed body, and the domain refuses none for its form."""
    jsonschema_rs.validate(schema_of("Immediate", "Scheduled", "Recurring"), body)
    refused = refusal(read_schedule_body, body)
    allowed = ("never run", "no run", "blank without scheduled_at")
    assert refused is None or any(words in refused.detail for words in allowed)


@given(body=UPDATES, kind=st.sampled_from(CampaignType))
def test_well_formed_updates(body: dict[str, Any], kind: CampaignType) -> None:
    """The schema allows every well-formed body, and the domain refuses none for its form.

    The campaign's type decides about unsupported values, and no schema contains that type.
    """
    jsonschema_rs.validate(schema_of("UpdateSchedule"), body)
    refused = refusal(read_update_body, body, kind)
    assert refused is None or refused.status == 422


@pytest.mark.parametrize(
    ("models", "parse", "bodies"),
    [
        (
            ("Immediate", "Scheduled", "Recurring"),
            read_schedule_body,
            [
                {"schedule_type": "weekly"},
                {"schedule_type": "immediate", "x": 1},
                {"schedule_type": "scheduled"},
                {"schedule_type": "scheduled", "scheduled_at": "2031-01-01"},
                {"schedule_type": "scheduled", "scheduled_at": "2031-01-01T00:00x"},
                {"schedule_type": "scheduled", "scheduled_at": "on 2031-01-01T00:00"},
                {"schedule_type": "recurring", "recurring_config": {}},
                {"schedule_type": "recurring", "recurring_config": {"frequency": "yearly"}},
                *(
                    {
                        "schedule_type": "recurring",
                        "recurring_config": {"frequency": "daily", "time": "09:00", **wrong},
                    }
                    for wrong in (
                        {"interval": 0},
                        {"interval": 1000},
                        {"interval": "1"},
                        {"days_of_week": []},
                        {"days_of_week": [0]},
                        {"days_of_week": [8]},
                        {"day_of_month": 32},
                        {"time": "9:00"},
                        {"time": "24:00"},
                        {"time": "09:00:00"},
                        {"end_date": "soon"},
                        {"skip": "never"},
                    )
                ),
                {"schedule_type": "immediate", "misfire_grace_time": 0},
                {"schedule_type": "immediate", "overlap": "never"},
                {"schedule_type": "immediate", "coalesce": "yes"},
            ],
        ),
        (
            ("UpdateSchedule",),
            read_update_body,
            [
                {},
                {"startdate": None},
                {"startdate": "2031-01-01"},
                {"startdate": "2031-01-01T00:00", "x": 1},
                {"startdate": "2031-01-01T00:00", "recurring_schedule": 7},
                *(
                    {
                        "startdate": "2031-01-01T00:00",
                        "repeating_schedule_attributes": wrong,
                    }
                    for wrong in (
                        [],
                        {"interval_size": "1"},
                        {"interval_unit": 1},
                        {"day_of_month": 5},
                        {"days_of_week": [1]},
                        {"days_of_week": "mon"},
                        {"x": 1},
                    )
                ),
            ],
        ),
    ],
)
def test_the_schema_refuses_what_the_domain_refuses(
    models: tuple[str, ...], parse: Any, bodies: list[dict[str, Any]]
) -> None:
    """The schema has every constraint of docs/semantics.md."""
    for body in bodies:
        with pytest.raises(InvalidInput):
            parse(json.loads(json.dumps(body)), CONTEXT)
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(schema_of(*models), body)
