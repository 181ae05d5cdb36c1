"""`campaignd db exec`, and the backup commands of docs/operations.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
BACKUP = OPERATIONS[OPERATIONS.index("## Back up and restore") :]
DUMP, *RESTORE = re.findall(r"^```sh\n(.*?)^```$", BACKUP, re.M | re.S)[0].splitlines()


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a directory with a `.venv`, as `make install` does, which every user can read."""
    top = Path(tempfile.mkdtemp(prefix="campaignd-backup-"))
    top.chmod(0o755)
    (top / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    yield top
    shutil.rmtree(top, ignore_errors=True)


def bash(script: str, place: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in the directory, with the embedded database there."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env={
            **os.environ,
            "CAMPAIGND_STATE_DIR": f"{place}/.state",
            "CAMPAIGND_API__ENABLED": "false",
            "CAMPAIGND_SCHEDULER__CONTINUOUS_INTERVAL": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def done(script: str, place: Path) -> str:
    """Return the output of a script that must succeed."""
    ran = bash(script, place)
    assert ran.returncode == 0, f"{script}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.mark.slow
def test_a_restored_dump_fires(place: Path) -> None:
    """The commands of the page, with and without a running daemon."""
    begun = {
        "startdate": "2026-01-01T00:00:00Z",
        "enddate": "2100-01-01T00:00:00Z",
        "recurring_schedule": "continuously",
    }
    later = {"schedule_type": "scheduled", "scheduled_at": "2100-01-01T09:00:00Z"}
    lines = [
        {"campaign": {"name": "begun", "type": "segment_triggered"}, "schedule": begun},
        {"campaign": {"name": "later"}, "schedule": later},
    ]
    (place / "load.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done(".venv/bin/campaignd import load.jsonl", place)
    done(DUMP, place)
    shutil.rmtree(place / ".state")
    counted = done("\n".join(RESTORE), place)
    assert re.search(r"scheduled +\| +1", counted)
    fired = """
    export CAMPAIGND_STATE_DIR="$PWD/.restored"
    .venv/bin/campaignd run 2> log & daemon=$!
    until .venv/bin/campaignd runs --json | grep -q '"status": "completed"'; do
        kill -0 $daemon
    done
    .venv/bin/campaignd db exec pg_dump -Fc > again.dump
    kill $daemon; wait $daemon
    .venv/bin/campaignd campaigns --json
    """
    campaigns = [json.loads(line) for line in done(fired, place).splitlines()]
    assert {each["name"] for each in campaigns} == {"begun", "later"}
    assert (place / "again.dump").stat().st_size > 1000


def test_no_database_is_made_to_be_dumped(place: Path) -> None:
    """In a wrong directory the command fails, and creates nothing."""
    ran = bash(".venv/bin/campaignd db exec pg_dump", place)
    assert ran.returncode == 3
    assert "there is no database in" in ran.stderr
    assert not (place / ".state").exists()


def test_a_given_database(place: Path, database_url: str) -> None:
    """The URL is on no command line; the exit code is the program's."""
    script = ".venv/bin/campaignd db exec psql -XAtc 'SELECT count(*) FROM schema_versions'"
    ran = bash(script, place, CAMPAIGND_DATABASE_URL=database_url)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(ran.stdout) >= 1
    ran = bash(
        ".venv/bin/campaignd db exec sh -c 'exit 7'", place, CAMPAIGND_DATABASE_URL=database_url
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "", "")


def test_programs_show_instants_in_utc(place: Path, database_url: str) -> None:
    """Whatever the database's time zone and format of dates are."""
    script = (
        """.venv/bin/campaignd db exec psql -XAtc "SELECT '2026-01-02T03:04:05Z'::timestamptz" """
    )
    ran = bash(script, place, CAMPAIGND_DATABASE_URL=database_url, PGDATESTYLE="German")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "2026-01-02 03:04:05+00\n", "")


def test_no_such_program(place: Path, database_url: str) -> None:
    """An unknown program is a usage error."""
    ran = bash(".venv/bin/campaignd db exec psq", place, CAMPAIGND_DATABASE_URL=database_url)
    assert ran.returncode == 2
    assert "there is no program 'psq'" in ran.stderr
