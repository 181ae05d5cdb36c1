"""`campaignd audit`: what it prints, and its exit codes."""

from __future__ import annotations

import json

import psycopg
import pytest

from daemon.maintenance import examination
from tests.support.in_process import Call


@pytest.fixture(autouse=True)
def _no_wait_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "RECHECK_S", 0.0)


def test_h15_an_empty_database(call: Call) -> None:
    done = call("audit")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "no findings\n",
        "nothing to check\n",
    )


def test_nothing_is_wrong(loaded: Call) -> None:
    done = loaded("audit")
    assert (done.returncode, done.stdout) == (0, "no findings\n")
    assert done.stderr == "3 campaigns and 0 occurrences checked\n"
    assert loaded("audit", "weekly", "--since", "7d", "--json").stdout == ""


def test_an_error_is_the_exit_code_1(loaded: Call, superuser_url: str) -> None:
    """The table has the remedy; the objects have the fields of `audit_findings` and the remedy."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("DELETE FROM timers WHERE campaign_id = 2")
    done = loaded("audit")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split()[:3] == ["error", "no_timer", "2"]
    assert "save the schedule again: campaignd schedule 2" in done.stdout
    (found,) = map(json.loads, loaded("audit", 2, "--json").stdout.splitlines())
    assert (found["kind"], found["severity"], found["campaign_id"]) == ("no_timer", "error", 2)
    assert set(found) == {
        *("id", "kind", "severity", "campaign_id", "run_id", "scheduled_for", "details"),
        *("found_at", "seen_at", "cleared_at", "remedy"),
    }
    assert loaded("audit", 1).returncode == 0


def test_no_database_is_the_exit_code_3(call: Call) -> None:
    done = call("--timeout", "0.2", "audit", CAMPAIGND_DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert done.returncode == 3


def test_a_campaign_that_does_not_exist(call: Call) -> None:
    assert call("audit", 7).returncode == 1
