"""The commands: their output, errors and exit codes, each on a database of its own."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from tests.support.in_process import (
    ONE_OFF,
    WEEKLY,
    Call,
    command_runner,
    environment_of,
    import_lines,
)
from tests.support.postgres import set_unusual_settings

CAMPAIGND = Path(sys.executable).with_name("campaignd")


def test_campaigns_as_text_and_as_json(loaded: Call) -> None:
    text = loaded("campaigns").stdout.splitlines()
    assert [line.split()[:2] for line in text] == [
        ["id", "name"],
        ["3", "draft"],
        ["2", "weekly"],
        ["1", "once"],
    ]
    assert "\x1b" not in "".join(text)
    (once,) = map(
        json.loads,
        loaded(
            "campaigns", "--json", "--type", "one_time", "--status", "scheduled"
        ).stdout.splitlines(),
    )
    assert (once["name"], once["next_run_at"]) == ("once", "2100-01-01T09:00:00Z")
    assert loaded("campaigns", "--status", "failed").stdout == "no campaigns\n"
    wrong = loaded("campaigns", "--status", "done")
    assert wrong.returncode == 2
    assert "'done' is not one of" in wrong.stderr


def test_show_by_id_and_by_uuid(loaded: Call) -> None:
    shown = json.loads(loaded("show", 2, "--json").stdout)
    assert shown["schedule"]["body"] == WEEKLY
    assert shown["schedule"]["rrule"].endswith("RRULE:FREQ=WEEKLY;BYDAY=MO")
    assert shown["next_run_at"].endswith(("T13:00:00Z", "T14:00:00Z"))
    assert json.loads(loaded("show", shown["uuid"], "--json").stdout) == shown
    text = loaded("show", 2).stdout
    assert "America/New_York" in text
    assert "imported" in text


@pytest.mark.parametrize(
    ("ref", "code", "reason"),
    [
        ("0x5", 1, "no campaign has the id, uuid or name '0x5'"),
        ("99999999999999999999", 1, "no campaign has the id, uuid or name '99999999999999999999'"),
        ("77", 1, "no campaign has the id 77"),
        (
            "00000000-0000-4000-8000-000000000000",
            1,
            "no campaign has the uuid 00000000-0000-4000-8000-000000000000",
        ),
    ],
)
def test_a_ref_that_names_no_campaign(call: Call, ref: str, code: int, reason: str) -> None:
    for command in ("show", "pause"):
        _refused(call(command, ref), code, reason)


def test_a_stop_logs_the_runs_that_it_ends(loaded: Call, database_url: str, tmp_path: Path) -> None:
    """On standard error, as every process does that writes the outcome of a run; once."""
    assert loaded("start", 3).returncode == 0
    stopped, again = (
        subprocess.run(
            [CAMPAIGND, "stop", "3"],
            capture_output=True,
            text=True,
            env=environment_of(database_url, tmp_path),
            check=False,
        )
        for _ in range(2)
    )
    assert (stopped.returncode, stopped.stdout) == (0, "campaign 3 cancelled\n")
    (line,) = map(json.loads, stopped.stderr.splitlines())
    assert (line["event"], line["campaign_id"], line["target"]) == ("run_cancelled", 3, "log")
    assert line["actor"].startswith("cli:")
    assert "run_cancelled" not in again.stderr


@pytest.mark.parametrize(
    "command", ["start", "stop", "rerun", "archive", "unarchive", "upcoming", "runs", "schedule"]
)
def test_every_command_requires_its_campaign(call: Call, command: str) -> None:
    _refused(call(command, 77, input=json.dumps(ONE_OFF)), 1, "no campaign has the id 77")


def _refused(done: subprocess.CompletedProcess[str], code: int, reason: str) -> None:
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("campaignd: error: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_lifecycle_command_prints_the_new_status(loaded: Call) -> None:
    printed = [
        (loaded(command, 1).stdout, command)
        for command in ("pause", "start", "start", "stop", "archive", "unarchive", "rerun")
    ]
    at = "2100-01-01T09:00:00Z"
    assert printed == [
        ("campaign 1 paused\n", "pause"),
        (f"campaign 1 scheduled, next run at {at}\n", "start"),
        (f"campaign 1 scheduled already, next run at {at}\n", "start"),
        ("campaign 1 cancelled\n", "stop"),
        ("campaign 1 archived\n", "archive"),
        ("campaign 1 cancelled\n", "unarchive"),
        ("campaign 1 executing, runs now\n", "rerun"),
    ]
    refused = loaded("archive", 1)
    assert refused.returncode == 1
    assert "cannot archive an executing campaign" in refused.stderr
    assert loaded("start", 3).stdout == "campaign 3 executing, runs now\n"


def test_a_pause_has_an_end_and_a_note(loaded: Call) -> None:
    until = f"{datetime.now(UTC) + timedelta(days=300):%Y-%m-%d}"
    paused = loaded("pause", 1, "--until", until, "--note", "summer holidays")
    assert paused.stdout == "campaign 1 paused\n"
    shown = json.loads(loaded("show", 1, "--json").stdout)["paused"]
    assert (shown["until"], shown["note"]) == (f"{until}T00:00:00Z", "summer holidays")
    (line,) = [each for each in loaded("show", 1).stdout.splitlines() if "since" in each]
    assert line.endswith(f"until {until}T00:00:00Z: summer holidays")
    explained = loaded("explain", 1, "--at", "2100-01-01T09:00:00Z").stdout
    assert f"paused until {until}T00:00:00Z, and will run then" in explained
    assert loaded("pause", 1, "--until", "tomorrow 09:00").returncode == 0
    assert json.loads(loaded("show", 1, "--json").stdout)["paused"]["note"] is None
    _refused(loaded("pause", 1, "--until", "2020-01-01"), 1, "until is '2020-01-01T00:00:00'")
    assert loaded("pause", 1, "--until", "someday").returncode == 2
    assert loaded("start", 1, "--note", "").returncode == 2


def test_the_operator_is_recorded(loaded: Call, database_url: str) -> None:
    import pwd

    loaded("pause", 1)
    with psycopg.connect(database_url) as connection:
        query = "SELECT event, actor FROM campaign_events WHERE campaign_id = 1 ORDER BY id"
        found = connection.execute(query).fetchall()
    actor = f"cli:{pwd.getpwuid(os.geteuid()).pw_name}"
    assert found == [("imported", actor), ("pause", actor)]


def test_schedule_saves_either_body(loaded: Call, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text("\ufeff" + json.dumps(WEEKLY), encoding="utf-8")
    saved = loaded("schedule", 3, body)
    assert saved.stdout.startswith("campaign 3 scheduled, next run at 2")
    update = {"startdate": "2100-02-01T08:00:00Z"}
    done = json.loads(loaded("schedule", 1, "--json", input=json.dumps(update)).stdout)
    assert (done["to_status"], done["next_run_at"]) == ("scheduled", "2100-02-01T08:00:00Z")
    assert loaded("schedule", 1, "--clear").stdout == "campaign 1 draft\n"
    assert json.loads(loaded("show", 1, "--json").stdout)["schedule"] is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("nope", "the body is not JSON"),
        ('{"startdate": NaN}', "NaN is not allowed"),
        ("[]", "body is"),
        ('{"schedule_type": "weekly"}', "schedule_type is 'weekly'"),
        ('{"startdate": "2020-01-01T00:00:00Z"}', "startdate is"),
        ("x" * 300_000, "longer than"),
        (b"\xff", "the body is not JSON"),
    ],
)
def test_an_invalid_body(loaded: Call, body: str, reason: str) -> None:
    before = loaded("export").stdout
    done = loaded("schedule", 1, input=body)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
    assert loaded("export").stdout == before


def test_schedule_preview_saves_nothing(loaded: Call) -> None:
    before = loaded("export").stdout
    body = json.dumps(WEEKLY | {"scheduled_at": "2100-01-01T00:00:00"})
    words, *text = loaded("schedule", 1, "--preview", 2, input=body).stdout.splitlines()
    assert words == "every Monday at 09:00 in New York, from 4 January 2100"
    assert [line.split() for line in text] == [
        ["America/New_York", "UTC"],
        ["2100-01-04T09:00:00", "2100-01-04T14:00:00Z"],
        ["2100-01-11T09:00:00", "2100-01-11T14:00:00Z"],
    ]
    answer = json.loads(loaded("schedule", 1, "--preview", 1, "--json", input=body).stdout)
    assert answer == {
        "occurrences": ["2100-01-04T14:00:00Z"],
        "summary": "every Monday at 09:00 in New York, from 4 January 2100",
    }
    assert loaded("export").stdout == before


def test_upcoming_of_all_and_of_one(loaded: Call) -> None:
    found = [json.loads(line) for line in loaded("upcoming", "--json").stdout.splitlines()]
    assert [each["campaign_id"] for each in found] == [2, 1]
    of_one = loaded("upcoming", 2, "-n", 3, "--json").stdout.splitlines()
    local = [datetime.fromisoformat(json.loads(line)["local"]) for line in of_one]
    assert [after - before for before, after in pairwise(local)] == [
        timedelta(days=7),
        timedelta(days=7),
    ]
    assert loaded("upcoming", 3).stdout == "no upcoming events\n"


def test_runs(loaded: Call) -> None:
    assert loaded("runs").stdout == "no runs\n"
    loaded("start", 3)
    (run,) = map(json.loads, loaded("runs", "--json").stdout.splitlines())
    assert (run["campaign_id"], run["status"], run["cause"]) == (3, "queued", "start")
    assert datetime.fromisoformat(run["scheduled_for"]).tzinfo is UTC or run[
        "scheduled_for"
    ].endswith("Z")
    assert "queued" in loaded("runs", 3, "--status", "queued").stdout
    assert loaded("runs", 3, "--status", "completed").stdout == "no runs\n"


def test_status_without_a_daemon(loaded: Call) -> None:
    assert "no nodes" in loaded("status").stdout
    summary, counts = map(json.loads, loaded("status", "--json", "--counts").stdout.splitlines())
    assert (summary["kind"], summary["overdue"], summary["lag"]) == ("summary", 0, 0)
    assert counts["campaigns"] == {"draft": 1, "scheduled": 2}


def test_the_servers_settings_change_no_output(loaded: Call, superuser_url: str) -> None:
    """Time zone, format of dates, encoding: what is shown and exported stays the same."""
    commands = ("campaigns", "show 2", "runs", "upcoming", "export", "explain 2", "status")
    assert loaded("import", "-", input=import_lines(("\u2713", ONE_OFF))).returncode == 0
    before = [loaded(*command.split()) for command in commands]
    set_unusual_settings(superuser_url)
    after = [loaded(*command.split()) for command in commands]
    assert [(done.stdout, done.stderr) for done in after] == [
        (done.stdout, done.stderr) for done in before
    ]
    assert loaded("import", "-", input=before[4].stdout).stderr.startswith("0 loaded, 4 unchanged")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "command", ["campaigns", "show 1", "runs", "upcoming", "explain 1 --at 2100-01-01T09:00:00Z"]
)
def test_names_where_the_output_is_not_utf8(call: Call, encoding: str, command: str) -> None:
    """A table has replacement characters; JSON has escapes, and loses nothing."""
    name = "\u2713\U0001f389 \u00c9t\u00e9"
    assert call("import", "-", input=import_lines((name, ONE_OFF))).returncode == 0
    done = call(*command.split(), encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    if command in ("campaigns", "show 1", "upcoming"):
        assert name.encode(encoding, "replace").decode(encoding) in done.stdout
    found = call(*command.split(), "--json", encoding=encoding)
    assert (found.returncode, found.stderr) == (0, "")
    utf8 = call(*command.split(), "--json")
    assert list(map(json.loads, found.stdout.splitlines())) == list(
        map(json.loads, utf8.stdout.splitlines())
    )


def test_check_prints_a_line_for_each(call: Call) -> None:
    done = call("check")
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "ok configuration",
        "ok timezone_data",
        "ok open files",
        "ok database",
        "ok privileges",
        "ok schema",
        "ok target log",
    ]


def test_an_offline_check_reads_only_the_configuration(call: Call) -> None:
    """`systemctl reload` asks for it: without a database, and quiet unless something is wrong."""
    nowhere = {"CAMPAIGND_DATABASE_URL": "postgresql://u@127.0.0.1:1/nothing"}
    done = call("check", "--offline", **nowhere)
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "ok configuration",
        "ok timezone_data",
        "ok target log",
    ]
    assert call("check", "--offline", "--quiet", **nowhere).stdout.strip() == ""
    wrong = call("check", "--offline", "--quiet", CAMPAIGND_LOG__LEVEL="loud", **nowhere)
    assert wrong.returncode == 1
    assert wrong.stdout.startswith("failed configuration: log.level = 'loud'")
    secrets = {"TYPE": "webhook", "URL": "https://crm.example", "SECRETS": "none"}
    given = {f"CAMPAIGND_TARGETS__CRM__{name}": value for name, value in secrets.items()}
    unusable = call("check", "--offline", "--quiet", **given, **nowhere)
    assert unusable.returncode == 1
    assert unusable.stdout.startswith("failed target crm: targets.crm: secrets")


@pytest.mark.parametrize(
    ("limit", "code", "line"),
    [
        (1024, 0, r"warning open files: 1024; api.max_connections is lowered from 1000 to \d+ \("),
        (40, 1, r"failed open files: 40; database connections and targets need \d+"),
    ],
)
def test_check_compares_the_limit_of_open_files(
    call: Call, monkeypatch: pytest.MonkeyPatch, limit: int, code: int, line: str
) -> None:
    monkeypatch.setattr("daemon.cli.commands.check.raised_open_file_limit", lambda: limit)
    done = call("check")
    assert done.returncode == code
    assert re.search(line, done.stdout), done.stdout


def test_check_reports_a_broker_that_does_not_answer(call: Call) -> None:
    url = "amqp://u:hidden-word@127.0.0.1:1//"
    done = call("check", CAMPAIGND_TARGETS__Q__TYPE="broker", CAMPAIGND_TARGETS__Q__BROKER_URL=url)
    assert done.returncode == 1
    assert re.search("^failed target q: .*refused$", done.stdout, re.M)
    assert "hidden-word" not in done.stdout + done.stderr


def test_check_looks_at_the_database_to_listen_at(
    call: Call, database_url: str, empty_database_url: str
) -> None:
    """It must be the same database; it may be unreachable as well."""
    name = "CAMPAIGND_LISTEN_DATABASE_URL"
    done = call("check", **{name: database_url})
    assert done.returncode == 0
    assert f"\nok listen_database_url: {database_url}\n" in done.stdout
    done = call("check", **{name: empty_database_url})
    assert done.returncode == 1
    assert f"\nfailed listen_database_url: {empty_database_url}: notifications of" in done.stdout
    done = call("check", **{name: "postgresql://u:hidden-word@127.0.0.1:1/nothing"})
    assert done.returncode == 1
    assert "\nfailed listen_database_url: " in done.stdout
    assert "hidden-word" not in done.stdout


def test_check_warns_of_secrets_that_every_user_may_read(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without counting it as a failure."""
    monkeypatch.setattr("config.exposure._CONTAINER_SIGNS", ())
    with tempfile.TemporaryDirectory() as made:
        file = Path(made, "campaignd.toml")
        Path(made).chmod(0o755)
        file.write_text('[targets.q]\ntype = "webhook"\nurl = "https://user:secretpw@host/"\n')
        file.chmod(0o644)
        done = call("check", CAMPAIGND_CONFIG=str(file))
    assert done.returncode == 0
    assert f"\nwarning configuration: every user can read {file} (mode 0644), " in done.stdout
    assert "secretpw" not in done.stdout


def test_an_unmigrated_database(empty_database_url: str, tmp_path: Path) -> None:
    call = command_runner(empty_database_url, tmp_path)
    refused = call("campaigns")
    assert refused.returncode == 4
    assert "run: campaignd db upgrade" in refused.stderr
    checked = call("check")
    assert checked.returncode == 1
    assert "failed schema: the database has no campaignd schema" in checked.stdout
    assert call("db", "current").stdout.startswith("schema none, this release needs ")
    assert call("db", "upgrade").stdout.startswith("schema none -> ")
    assert call("db", "upgrade").stdout.startswith("schema 0")
    assert call("campaigns").stdout == "no campaigns\n"


def test_an_unreachable_database(tmp_path: Path) -> None:
    """Retried for `scheduler.startup_timeout`; the message has no password."""
    call = command_runner("postgresql://someone:hidden-word@127.0.0.1:1/nothing", tmp_path)
    quick = {"CAMPAIGND_SCHEDULER__STARTUP_TIMEOUT": "0.5"}
    for command in (["campaigns"], ["db", "current"], ["db", "upgrade"], ["import", "-"]):
        done = call(*command, **quick)
        assert done.returncode == 3, command
        assert done.stderr.startswith(
            "campaignd: error: no database within 0.5 s: postgresql://someone:***@"
        )
        assert done.stderr.count("\n") == 1
        assert "hidden-word" not in done.stderr
    checked = call("check", **quick)
    assert checked.returncode == 1
    assert "failed database: no database within 0.5 s: " in checked.stdout
    assert "hidden-word" not in checked.stdout + checked.stderr


def test_a_wrong_setting(call: Call) -> None:
    """Commands that need the settings end with 2; `check` prints a line for each problem."""
    wrong = {"CAMPAIGND_API__PORT": "many", "CAMPAIGND_LOG__LEVEL": "loud"}
    done = call("campaigns", **wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert "CAMPAIGND_API__PORT" in done.stderr
    checked = call("check", **wrong)
    assert (checked.returncode, checked.stderr) == (1, "")
    printed = checked.stdout.splitlines()
    assert len(printed) == 2
    assert all(line.startswith("failed configuration: ") for line in printed)
    for name in wrong:
        assert name in checked.stdout


def test_a_configuration_file_that_is_not_there(call: Call) -> None:
    checked = call("--config", "/nonexistent/file", "check")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert checked.stdout.startswith("failed configuration: --config: /nonexistent/file: No such")


def test_names_cannot_control_the_terminal(call: Call) -> None:
    call("import", "-", input=import_lines(("bell \x07 and \x1b[2J", None), ("two\nlines", None)))
    text = call("campaigns").stdout
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_a_table_on_a_terminal(loaded: Call, database_url: str) -> None:
    """Headings are bold, instants are local, and the line fits."""
    leader, follower = pty.openpty()
    environment = os.environ | {"CAMPAIGND_DATABASE_URL": database_url, "COLUMNS": "120"}
    with subprocess.Popen(
        [CAMPAIGND, "campaigns"], stdout=follower, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        shown = b""
        with suppress(OSError):  # the other end is closed
            while part := os.read(leader, 65536):
                shown += part
        os.close(leader)
        assert process.wait() == 0
    assert b"weekly" in shown
    assert b"Fri 1 Jan 2100" in shown
    assert shown.startswith(b"\x1b[1mid")


def test_the_audit_log_lists_commands(loaded: Call) -> None:
    """Each command that changes something is one row, with the user and the command."""
    loaded("pause", 1)
    loaded("keys", "create", "dashboard")
    listed = loaded("audit-log", "--json", "--limit", 3)
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [(row["action"], row["command"], row["object_name"]) for row in rows] == [
        ("key.created", "campaignd keys", "dashboard"),
        ("campaign.paused", "campaignd pause", rows[1]["object_name"]),
        ("campaigns.imported", "campaignd import", None),
    ]
    assert {row["actor"].partition(":")[0] for row in rows} == {"cli"}
    table = loaded("audit-log", "--action", "campaign.paused").stdout
    assert "campaign.paused" in table
    assert "key.created" not in table
    assert loaded("audit-log", "--since", "2100-01-01").stdout == "no rows\n"
    assert loaded("audit-log", "--since", "soon").returncode == 2


def test_a_name_is_a_ref_while_it_is_unique(loaded: Call) -> None:
    assert loaded("pause", "weekly").stdout == "campaign 2 paused\n"
    more = import_lines(("weekly", ONE_OFF))
    assert loaded("import", "-", input=more).returncode == 0
    done = loaded("start", "weekly")
    assert (done.returncode, done.stdout) == (2, "")
    assert "several campaigns are called 'weekly': name one by its id: 4, 2" in done.stderr


def test_several_refs_are_handled_one_by_one(loaded: Call) -> None:
    """One that is refused does not keep the others from it."""
    done = loaded("pause", 1, "missing", "weekly")
    assert done.stdout == "campaign 1 paused\ncampaign 2 paused\n"
    assert done.returncode == 1
    assert done.stderr == (
        "campaignd: error: missing: no campaign has the id, uuid or name 'missing'\n"
    )


def test_a_paused_campaign_has_no_next_run_as_in_the_api(loaded: Call) -> None:
    loaded("pause", 2)
    shown = json.loads(loaded("show", 2, "--json").stdout)
    assert (shown["next_run_at"], shown["next_event"]) == (None, "fire")
    assert "missed unless `campaignd start 2` comes first" in loaded("show", 2).stdout
    listed = map(json.loads, loaded("campaigns", "--json").stdout.splitlines())
    assert [each["next_run_at"] for each in listed if each["id"] == 2] == [None]


def test_options_are_accepted_on_either_side_of_the_command(loaded: Call, tmp_path: Path) -> None:
    after = loaded("campaigns", "--json").stdout
    assert loaded("--json", "campaigns").stdout == after
    assert loaded("-o", "json", "campaigns").stdout == after
    heading, *rows = csv.reader(loaded("campaigns", "-o", "csv").stdout.splitlines(True))
    assert heading[:5] == ["id", "uuid", "name", "type", "status"]
    assert [row[2] for row in rows] == ["draft", "weekly", "once"]
    missing = tmp_path / "missing.toml"
    for words in (["--config", missing, "campaigns"], ["campaigns", "--config", missing]):
        done = loaded(*words)
        assert (done.returncode, "missing.toml" in done.stderr) == (2, True)
    assert loaded("campaigns", "--json", "-o", "csv").returncode == 2


def test_times_are_shown_in_the_wanted_zone(loaded: Call) -> None:
    assert "2100-01-01T09:00:00Z" in loaded("campaigns").stdout
    assert "Fri 1 Jan 2100 10:00 (in 7" in loaded("campaigns", "--tz", "Europe/Paris").stdout
    assert "2100-01-01T09:00:00Z" in loaded("show", "once", "--utc").stdout
    why = loaded("explain", "once", "--at", "2100-01-01 09:00", "--tz", "Europe/Paris").stdout
    assert "Fri 1 Jan 2100 10:00" in why
    assert not re.search(r"\dT\d\d:", why)
    done = loaded("campaigns", "--tz", "Mars")
    assert (done.returncode, "'Mars' is not a time zone" in done.stderr) == (2, True)


def test_the_start_of_a_runs_id_is_accepted(loaded: Call) -> None:
    """As `runs` shows it on a terminal, while it is unique."""
    loaded("start", 3)
    run = json.loads(loaded("runs", "draft", "--json").stdout)["id"]
    for command in ("retry", "release"):
        done = loaded(command, run[:8])
        assert (done.returncode, "begins with" in done.stderr) == (1, False), done.stderr
    assert "no run has an id that begins with 00000000" in loaded("retry", "00000000").stderr
    assert loaded("retry", "xyz").returncode == 2
    assert json.loads(loaded("runs", "--since", "1h", "--json").stdout)["id"] == run
    assert loaded("runs", "--since", "1h", "--failed").stdout == "no runs\n"
    assert loaded("runs", "--since", "2100-01-01").stdout == "no runs\n"


def test_a_group_without_a_subcommand_prints_its_help(call: Call) -> None:
    for name in ("db", "keys"):
        done = call(name)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"Usage: campaignd {name} ")
        assert done.stderr.count("\n") > 5


def test_an_unknown_command_is_answered_by_the_one_that_is_meant(call: Call) -> None:
    done = call("resume", "1")
    assert done.returncode == 2
    assert "there is no command 'resume'; did you mean `campaignd start`?" in done.stderr


def test_a_database_that_does_not_answer_is_reported_after_a_second(tmp_path: Path) -> None:
    """A listener that never answers, and no listener at all: the command gives up in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        run = command_runner(f"postgresql://someone@127.0.0.1:{port}/none", tmp_path)
        began = time.monotonic()
        done = run("campaigns", "--timeout", "1.5")
        assert 1.4 < time.monotonic() - began < 5
    assert done.returncode == 3
    first, last = done.stderr.splitlines()
    assert first.startswith(
        "campaignd: waiting up to 1.5 s for the database at postgresql://someone@"
    )
    assert "no database within 1.5 s" in last


def test_held_runs_are_listed_and_decided(loaded: Call, database_url: str) -> None:
    """Many only with --all, and without a terminal only with --yes."""
    assert loaded("held").stdout == "no held runs\n"
    assert loaded("drop").returncode == 2
    assert loaded("release", "00000000", "--all").returncode == 2
    assert loaded("release", "--all", "--fail").returncode == 2
    assert loaded("drop", "--all", "--yes").stdout == "0 runs dropped\n"
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO runs (campaign_id, scheduled_for, id, status, claimed_at, start_before,"
            " error) VALUES (1, now(), gen_random_uuid(), 'held', now(), now(), 'held: too late')"
        )
        connection.execute(
            "UPDATE campaigns SET status = 'executing', open_runs = 1, held_runs = 1,"
            " has_due = true WHERE id = 1"
        )
    (shown,) = [json.loads(line) for line in loaded("held", "--json").stdout.splitlines()]
    assert (shown["reason"], shown["attempt"]) == ("late", 0)
    assert loaded("held", "--reason", "frozen").stdout == "no held runs\n"
    asked = loaded("drop", "--all", "--campaign", "once")
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr == (
        "campaignd: error: this concerns 1 runs; repeat with confirm=1 (or give --yes)\n"
    )
    assert loaded("drop", "--all", "--yes", "--reason", "late").stdout == "1 runs dropped\n"


def test_open_prints_a_link_of_a_key_and_creates_that_of_the_user(loaded: Call) -> None:
    """The key of the user is created once; a key that is named must be in force."""
    links = [loaded("open") for _ in range(2)]
    for link in links:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/login\?link=[\w-]{43}\n", link.stdout)
        assert link.stderr == "The link works once, within 10 minutes.\n"
    assert links[0].stdout != links[1].stdout
    (key,) = map(json.loads, loaded("keys", "list", "--json").stdout.splitlines())
    assert key["scope"] == "admin"
    assert loaded("open", "--key", key["name"]).returncode == 0
    unknown = loaded("open", "--key", "unknown")
    assert unknown.returncode == 1
    assert "no key in force has the name 'unknown'" in unknown.stderr


def test_runs_are_followed_as_they_come(loaded: Call, database_url: str, tmp_path: Path) -> None:
    """The newest ones first of all, then each new one and each change, until Ctrl-C."""
    loaded("run-now", 2)
    with subprocess.Popen(
        [CAMPAIGND, "runs", "--follow", "--json"],
        stdout=subprocess.PIPE,
        env=environment_of(database_url, tmp_path),
        text=True,
    ) as following:
        assert following.stdout is not None
        try:
            assert json.loads(following.stdout.readline())["campaign_id"] == 2
            loaded("start", 3)
            assert json.loads(following.stdout.readline())["campaign_id"] == 3
            loaded("stop", 3)
            changed = json.loads(following.stdout.readline())
            assert (changed["campaign_id"], changed["status"]) == (3, "cancelled")
        finally:
            following.send_signal(signal.SIGINT)
        assert following.wait(30) == 130


def test_a_freeze_is_printed_and_ends(loaded: Call) -> None:
    """Without a node there is none that obeys; `status` begins with it."""
    done = loaded("freeze", "--note", "incident", "--until", "2h")
    first, second = done.stdout.splitlines()
    assert done.returncode == 0
    assert first.startswith("frozen since ")
    assert (first.endswith(": incident"), " until " in first) == (True, True)
    assert second == "no node is at work"
    assert loaded("status").stdout.splitlines()[0] == f"FROZEN: {first}"
    (shown,) = [
        each
        for each in map(json.loads, loaded("status", "--json").stdout.splitlines())
        if each["kind"] == "freeze"
    ]
    assert (shown["scope"], shown["note"]) == ("*", "incident")
    refused = loaded("start", 3)
    assert (refused.returncode, "thaw first" in refused.stderr) == (1, True)
    assert loaded("thaw").stdout == "* thawed, 0 occurrences held\n"
    assert (loaded("thaw").returncode, loaded("start", 3).returncode) == (1, 0)
    refused = loaded("freeze", "--target", "nowhere")
    assert "target is 'nowhere', must be one of log" in refused.stderr
