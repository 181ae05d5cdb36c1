"""Campaigns made and changed on the command line, without JSON."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process import Call

WEEKLY = ("--every", "mon,wed", "--at", "09:00", "--zone", "Europe/Paris")


def shown(call: Call, ref: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call("show", ref, "--json").stdout)
    return found


def test_a_weekly_campaign_from_options(call: Call) -> None:
    done = call("create", "Weekly letter", *WEEKLY, "--payload", '{"list": 7}')
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["campaign 1 scheduled", "every Monday and Wednesday at 09:00 in Paris"]
    assert len(re.findall(r"T09:00:00  +\d{4}-\d\d-\d\dT0[78]:00:00Z", done.stdout)) == 5
    made = shown(call, "Weekly letter")
    assert (made["type"], made["payload"], made["timezone"]) == (
        *("recurring", {"list": 7}),
        "Europe/Paris",
    )
    assert made["schedule"]["body"] == {
        "schedule_type": "recurring",
        "timezone": "Europe/Paris",
        "recurring_config": {"frequency": "weekly", "days_of_week": [1, 3], "time": "09:00"},
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--every", "day", "--at", "7:30"], "every day at 07:30 UTC"),
        (["--every", "weekday", "--at", "09:00"], "Monday to Friday at 09:00 UTC"),
        (["--every", "sat-mon", "--at", "09:00"], "every Monday, Saturday and Sunday at 09:00 UTC"),
        (["--every", "month", "--on", "last", "--at", "09:00"], "on the last day of every month"),
        (
            ["--every", "mon", "--interval", "2", "--at", "09:00", "--from", "2100-01-01"],
            "every second Monday at 09:00 UTC, from 4 January 2100",
        ),
        (
            ["--every", "tuesday", "--at", "09:00", "--until", "2100-01-31"],
            "every Tuesday at 09:00 UTC, until 31 January 2100",
        ),
        (["--once", "2100-01-01 09:00"], "once on Friday 1 January 2100 at 09:00 UTC"),
        (["--once", "2100-01-01T09:00+02:00"], "once on Friday 1 January 2100 at 07:00 UTC"),
    ],
)
def test_a_dry_run_shows_the_schedule_and_saves_nothing(
    call: Call, options: list[str], words: str
) -> None:
    done = call("create", "Try", *options, "--dry-run")
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.startswith(words)
    assert last == "nothing is saved"
    assert call("list").stdout == "no campaigns\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give a NAME, or --file FILE"),
        (["X", "--every", "mon"], "--every needs --at TIME"),
        (["X", "--at", "09:00"], "give --every DAYS or --once WHEN"),
        (["X", "--every", "mo", "--at", "09:00"], "'mo' is neither day, weekday"),
        (["X", "--every", "month", "--at", "09:00"], "--every month needs --on DAY"),
        (["X", "--every", "day", "--on", "3", "--at", "09:00"], "--on is for --every month"),
        (["X", "--every", "day", "--at", "nine"], "yesterday 09:00"),
        (["X", "--once", "09:00", "--at", "09:00"], "--once takes no other option"),
        (["X", "--zone", "Paris"], "'Paris' is not a time zone"),
        (["X", "--target", "nix"], "target is 'nix', must be"),
        (["X", "--payload", "[]"], "must be a JSON object"),
        (["X", "--payload", "{"], "is not JSON"),
        (["X", "--once", "2020-01-01 09:00"], "must be after"),
        (["X", "--file", "-"], "--file takes no NAME"),
    ],
)
def test_what_cannot_be_created_is_refused_and_leaves_nothing(
    call: Call, arguments: list[str], reason: str
) -> None:
    done = call("create", *arguments)
    assert done.returncode in (1, 2)
    assert reason in done.stderr, done.stderr
    assert call("list").stdout == "no campaigns\n"


def test_a_file_may_have_its_object_over_several_lines(call: Call) -> None:
    """As documents print it, also of a window type, which no option describes."""
    body = {"startdate": "2100-01-01T09:00", "enddate": "2100-02-01T09:00"}
    given = {"campaign": {"name": "Live", "type": "live_content"}, "schedule": body}
    done = call("create", "--file", "-", input=json.dumps(given, indent=2))
    assert done.stdout.splitlines() == [
        *(
            "campaign 1 draft",
            "open from 1 January 2100 at 09:00 UTC, until 1 February 2100 at 09:00",
        ),
        *("no timed runs", "next: campaignd start 1"),
    ]
    assert json.loads(call("create", "Bare", "--json").stdout)["status"] == "draft"


def test_options_change_a_campaign_and_show_the_difference(call: Call) -> None:
    call("create", "Weekly letter", *WEEKLY)
    tried = call("edit", 1, "--at", "10:00", "--dry-run")
    assert tried.stdout.splitlines()[0] == "every Monday and Wednesday at 10:00 in Paris"
    assert re.search(r'^-\s+"time": "09:00",$', tried.stdout, re.M)
    assert re.search(r'^\+\s+"time": "10:00",$', tried.stdout, re.M)
    assert tried.stdout.endswith("nothing is saved\n")
    assert shown(call, 1)["schedule"]["body"]["recurring_config"]["time"] == "09:00"
    done = call("edit", 1, "--at", "10:00", "--name", "Letter", "--payload", '{"a": 1}')
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "campaign 1 saved")
    made = shown(call, "Letter")
    assert (made["payload"], made["schedule"]["summary"].split(",")[0]) == (
        {"a": 1},
        "every Monday and Wednesday at 10:00 in Paris",
    )
    moved = call("edit", 1, "--zone", "America/New_York")
    assert moved.returncode == 0, moved.stderr
    made = shown(call, 1)
    assert made["timezone"] == made["schedule"]["timezone"] == "America/New_York"
    assert call("edit", 1, "--name", "Letter").stdout == "campaign 1 is unchanged\n"
    refused = call("edit", 1, "--target", "nix")
    assert (refused.returncode, "must be" in refused.stderr) == (1, True)


def test_an_editor_opens_the_campaign(call: Call, tmp_path: Path) -> None:
    call("create", "Weekly letter", *WEEKLY)
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/09:00/11:00/; s/Weekly letter/Late letter/" "$1"\n')
    editor.chmod(0o755)
    done = call("edit", 1, VISUAL="", EDITOR=f"{editor}")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "campaign 1 saved"), done.stderr
    assert shown(call, "Late letter")["schedule"]["body"]["recurring_config"]["time"] == "11:00"
    assert call("edit", 1, VISUAL="true").stdout == "campaign 1 is unchanged\n"
    for text in ("nonsense", '{"campaign": {}}'):
        editor.write_text(f"#!/bin/sh\necho '{text}' > \"$1\"\n")
        refused = call("edit", 1, VISUAL="", EDITOR=f"{editor}")
        assert refused.returncode == 1
        assert "nothing is saved" in refused.stderr


def test_copies_new_names_extra_runs_and_deletion(call: Call) -> None:
    call("create", "Weekly letter", *WEEKLY)
    copied = call("copy", "Weekly letter", "Second").stdout.splitlines()
    assert copied == ["campaign 2 draft, 'Second'", "next: campaignd start 2"]
    assert call("rename", 2, "Third").stdout == "campaign 2 is called 'Third'\n"
    assert call("rename", "Third", "Third").stdout == "campaign 2 is called 'Third' already\n"
    assert call("run-now", 1).stdout == "campaign 1 executing, runs now\n"
    assert call("stop", 1, "--yes").returncode == 0
    assert call("archive", 1).returncode == 0
    asked = call("delete", 1, 2)
    assert (asked.returncode, "give --yes" in asked.stderr) == (2, True)
    done = call("delete", 1, 2, "--yes")
    assert done.stderr == ""
    assert done.stdout == "campaign 1 deleted\ncampaign 2 deleted\n"
    assert call("list").stdout == "no campaigns\n"


def test_an_agenda_draws_a_month_and_a_week(call: Call) -> None:
    call("create", "Weekly letter", *WEEKLY)
    month = call("agenda", "--from", "2100-02-03", "--tz", "Europe/Paris").stdout
    assert month.splitlines()[0] == "February 2100"
    assert month.count("09:00 Weekly letter") == 8
    week = call("agenda", 1, "--week", "--from", "2100-02-03", "--tz", "Europe/Paris").stdout
    assert "Monday 1 February\n  09:00  to come     1  Weekly letter\nTuesday" in week
    entries = call("agenda", "--from", "2100-02-03", "--json").stdout.splitlines()
    assert json.loads(entries[0]) == {
        "at": "2100-02-01T08:00:00Z",
        "campaign_id": 1,
        "campaign_name": "Weekly letter",
        "status": "to come",
    }
    assert call("agenda", "--week", "--month").returncode == 2


def test_targets_are_listed_and_tried(call: Call, tmp_path: Path) -> None:
    """A program as the target: it takes the test run, or refuses it."""
    config = tmp_path / "c.toml"
    config.write_text('[targets.program]\ntype = "command"\nargv = ["cat"]\n')
    listed = call("targets", "--config", config, "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in listed] == ["program", "log"]
    tried = call("target", "test", "program", "--config", config)
    assert (tried.returncode, tried.stderr) == (0, "")
    assert tried.stdout.startswith("ok target program: it took the run in ")
    config.write_text('[targets.program]\ntype = "command"\nargv = ["false"]\n')
    refused = call("target", "test", "program", "--config", config)
    assert refused.returncode == 1
    assert refused.stdout.startswith("failed target program: ")
    unknown = call("target", "test", "prog", "--config", config)
    assert "there is no target 'prog'; did you mean program?" in unknown.stderr


def test_init_writes_a_configuration_and_checks_it(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "made.toml"
    done = call("init", file, "--webhook", "http://127.0.0.1:9000/", "--port", 0)
    assert done.returncode == 0, done.stdout
    assert "ok configuration" in done.stdout
    assert "ok target crm" in done.stdout
    assert f"export CAMPAIGND_CONFIG={file}" in done.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert re.search(r'secrets = \["whsec_[\w+/=]{32}"\]', file.read_text())
    again = call("init", file)
    assert (again.returncode, "give --yes" in again.stderr) == (2, True)
    listed = call("targets", "--config", file).stdout
    assert "crm" in listed
