"""Runs that wait in the table: taken by `campaignd worker`, and by the documented SQL."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.campaign_database import CampaignDatabase
from tests.support.configured_targets import add_one_offs_for, write_configuration
from tests.support.histories import check_histories
from tests.support.processes import Daemons
from tests.support.waiting import utc_now, wait_until

TABLE = {"type": "postgres", "backoff_first": 0.05, "backoff_longest": 0.1, "lease": 60.0}
SHORT = {**TABLE, "lease": 6.0}
"""Lease that a test waits for, and that does not expire while the machine is busy."""
QUEUED = "SELECT count(*) = %s FROM runs WHERE worker_queue = 'table' AND status = 'queued'"
ENDED = "SELECT count(*) = %s FROM runs WHERE finished_at IS NOT NULL"
ENDING = {
    *("campaign_id", "campaign_uuid", "run_id", "scheduled_for", "lateness_ms", "duration_ms"),
    *("attempt", "target", "outcome", "from_status", "to_status"),
}
"""Keys of the log line for the end of a run."""
DOCUMENT = Path(__file__).parents[2] / "docs" / "targets.md"
METRICS = DOCUMENT.with_name("metrics.md")


def documented(name: str) -> str:
    """Return a statement of docs/targets.md."""
    found = re.search(rf"```sql\n-- {name}\b(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return "--" + found[1]


@pytest.fixture
def role(database: CampaignDatabase) -> Iterator[str]:
    """Create a role that has only the privileges of docs/targets.md, in this database."""
    name = f"sender_{uuid4().hex}"
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name}".encode())
        try:
            granted = documented("grant").replace("TO sender", f"TO {name}")
            connection.execute(granted.encode())
            yield name
        finally:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


class Sql:
    """A worker that uses only the documented statements, with only the documented privileges."""

    def __init__(self, url: str, role: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, row_factory=dict_row)
        self.connection.execute(f"SET ROLE {role}".encode())

    def __enter__(self) -> Sql:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def do(self, name: str, **binds: Any) -> list[dict[str, Any]]:
        return self.connection.execute(documented(name).encode(), binds).fetchall()


def script(directory: Path, text: str) -> str:
    """Write a program for --exec; return its command."""
    path = directory / "work.py"
    path.write_text(text)
    return shlex.join([sys.executable, str(path)])


def worker(
    daemons: Daemons, database: CampaignDatabase, config: Path, command: str, *more: str
) -> Any:
    env = daemons.environment(database.url, config=config)
    process = daemons.start_command("worker", "--exec", command, *more, env=env)
    process.wait_for("worker_ready")
    return process


def endings(process: Any) -> list[dict[str, Any]]:
    """Return the log lines of a process for the ends of runs."""
    return [*process.events_named("run_finished"), *process.events_named("run_failed")]


def test_a_worker_does_the_work(
    daemons: Daemons, database: CampaignDatabase, tmp_path: Path
) -> None:
    """Done, failed, retried; the first attempt is the worker's own."""
    config = write_configuration(daemons, table=TABLE)
    ids = add_one_offs_for(database, "table", 30, utc_now() + timedelta(seconds=2))
    daemon = daemons.start_ready(database.url, config=config)
    database.wait_until(QUEUED, 30)
    waiting = database.rows("SELECT DISTINCT attempt, node, started_at FROM runs")
    assert waiting == [{"attempt": 0, "node": None, "started_at": None}]
    program = f"""
import json, sys
data = json.load(sys.stdin)["data"]
number = data["payload"]["n"] - {ids[0]}
if number == 7: sys.exit(3)
if number < 5 and data["attempt"] == 1: sys.exit(75)
open({str(tmp_path)!r} + f"/{{data['run_id']}}.{{data['attempt']}}", "x")
"""
    working = worker(daemons, database, config, script(tmp_path, program), "-c", "4")
    database.wait_until(ENDED, 30)
    assert database.statuses("runs") == {"completed": 29, "failed": 1}
    attempts = database.rows("SELECT attempt, count(*) AS many FROM runs GROUP BY 1 ORDER BY 1")
    assert attempts == [{"attempt": 1, "many": 25}, {"attempt": 2, "many": 5}]
    done = {path.stem for path in tmp_path.glob("*.[12]")}
    assert len(done) == 29
    check_histories(database)
    assert working.stop() == 0
    assert daemon.stop() == 0
    statement = re.search(r"```sql\n(.*?)```", METRICS.read_text("utf-8"), re.DOTALL)
    assert statement is not None
    counts = {(row["target"], row["status"]): row["count"] for row in database.rows(statement[1])}
    assert counts == {("table", "completed"): 29, ("table", "failed"): 1}
    lines = endings(working)
    assert sorted(line["campaign_id"] for line in lines) == sorted(ids)
    assert all(line.keys() >= ENDING for line in lines)
    assert endings(daemon) == []


def test_a_lost_worker(daemons: Daemons, database: CampaignDatabase, tmp_path: Path) -> None:
    """Killed, its runs go to another worker after the lease; stopped, it releases them at once."""
    config = write_configuration(daemons, table=SHORT)
    add_one_offs_for(database, "table", 2, utc_now() + timedelta(seconds=2))
    daemon = daemons.start_ready(database.url, config=config)
    hang = script(tmp_path, "import time; time.sleep(600)")
    first = worker(daemons, database, config, hang, "-c", "2")
    database.wait_until("SELECT count(*) = 2 FROM runs WHERE lease_until IS NOT NULL")
    until = database.one("SELECT max(lease_until) FROM runs")
    database.wait_until("SELECT max(lease_until) > %s FROM runs", until)  # The lease is extended.
    first.kill()
    daemon.wait_for("run_lease_expired")
    database.wait_until(QUEUED, 2)
    assert database.rows("SELECT DISTINCT attempt, takeovers FROM runs") == [
        {"attempt": 1, "takeovers": 1}
    ]
    ended = len(daemon.events_named("run_lease_expired"))
    env = daemons.environment(database.url, config=config, scheduler__drain_timeout=0.2)
    second = daemons.start_command("worker", "--exec", hang, "-c", "2", env=env)
    database.wait_until(
        "SELECT count(*) = 2 FROM runs WHERE lease_until IS NOT NULL AND attempt = 2"
    )
    assert second.stop() == 0
    database.wait_until(QUEUED, 2)
    assert len(daemon.events_named("run_lease_expired")) == ended, "it did not come to that"
    quick = script(tmp_path, "")
    worker(daemons, database, config, quick)
    database.wait_until(ENDED, 2)
    assert database.rows("SELECT DISTINCT status, attempt FROM runs") == [
        {"status": "completed", "attempt": 2}
    ]
    check_histories(database)


def test_a_stop_reaches_the_worker(
    daemons: Daemons, database: CampaignDatabase, tmp_path: Path
) -> None:
    """The worker's next heartbeat is refused, and the program ends."""
    config = write_configuration(daemons, table=SHORT)
    (campaign_id,) = add_one_offs_for(database, "table", 1, utc_now() + timedelta(seconds=2))
    daemons.start_ready(database.url, config=config)
    working = worker(daemons, database, config, script(tmp_path, "import time; time.sleep(600)"))
    database.wait_until("SELECT count(*) = 1 FROM runs WHERE lease_until IS NOT NULL")
    database.run_command(lambda control: control.stop(campaign_id, "tester"))
    working.wait_for("attempt_cancelled")
    assert database.statuses("runs") == {"cancelled": 1}
    assert working.stop() == 0


def expected_attempts(taken: list[dict[str, Any]], worker: str) -> set[tuple[Any, ...]]:
    """Return the event of each run that was taken, as `campaignd worker` writes it."""
    return {
        (row["campaign_id"], row["id"], row["scheduled_for"], f"attempt {row['attempt']}", worker)
        for row in taken
    }


def recorded_attempts(database: CampaignDatabase) -> set[tuple[Any, ...]]:
    rows = database.rows(
        "SELECT campaign_id, run_id, scheduled_for, cause, actor FROM campaign_events"
        " WHERE event = 'attempt' AND from_status = 'executing' AND to_status = 'executing'"
    )
    return {tuple(row.values()) for row in rows}


def test_the_documented_sql(daemons: Daemons, database: CampaignDatabase, role: str) -> None:
    """Take, heartbeat, answer; a late answer changes nothing; every attempt is an event."""
    config = write_configuration(daemons, table=TABLE)
    ids = add_one_offs_for(database, "table", 12, utc_now() + timedelta(seconds=2))
    daemon = daemons.start_ready(database.url, config=config)
    database.wait_until(QUEUED, 12)
    with Sql(database.url, role) as one, Sql(database.url, role) as other:
        mine = one.do("take", worker="mine", target="table")
        theirs = other.do("take", worker="theirs", target="table")
        assert (len(mine), len(theirs)) == (10, 2)
        assert {row["campaign_id"] for row in mine + theirs} == set(ids)
        assert {row["payload"]["n"] for row in mine} <= set(ids)
        assert one.do("take", worker="mine", target="table") == []
        assert recorded_attempts(database) == expected_attempts(mine, "mine") | expected_attempts(
            theirs, "theirs"
        )
        first, second, third, *rest = mine
        for row, answer in ((first, "completed"), (second, "failed"), (third, "retry")):
            held = {"run": row["id"], "attempt": row["attempt"]}
            assert one.do("heartbeat", **held)
            assert one.do("answer", answer=answer, reason="because", **held)
            assert not one.do("answer", answer=answer, reason="because", **held)
            assert not one.do("heartbeat", **held)
        database.wait_until(
            "SELECT count(*) = 3 FROM runs WHERE status = 'completed'"
            " OR status = 'failed' AND error = 'because' OR status = 'queued'"
        )
        again = one.do("take", worker="mine", target="table")
        assert [(row["id"], row["attempt"]) for row in again] == [(third["id"], 2)]
        assert recorded_attempts(database) >= expected_attempts(again, "mine")
        late = {"run": third["id"], "attempt": 1}
        assert not one.do("answer", answer="completed", reason=None, **late)
        for row in (*rest, *theirs, *again):
            held = {"run": row["id"], "attempt": row["attempt"]}
            assert one.do("answer", answer="completed", reason=None, **held)
        database.wait_until(ENDED, 12)
    assert database.statuses("runs") == {"completed": 11, "failed": 1}
    assert daemon.stop() == 0
    lines = endings(daemon)
    assert sorted(line["campaign_id"] for line in lines) == sorted(ids)
    assert all(line.keys() >= ENDING for line in lines)
    assert {line["actor"] for line in lines} == {"mine", "theirs"}
    check_histories(database)


def test_no_worker_takes_it_in_time(daemons: Daemons, database: CampaignDatabase) -> None:
    """Later than the grace time: missed, as with every target."""
    config = write_configuration(daemons, table=TABLE)
    daemons.start_ready(database.url, config=config)
    add_one_offs_for(database, "table", 3, utc_now() + timedelta(seconds=2), grace=6)
    database.wait_until(QUEUED, 3)
    database.wait_until(ENDED, 3)
    assert database.rows("SELECT DISTINCT status, attempt, started_at FROM runs") == [
        {"status": "missed", "attempt": 0, "started_at": None}
    ]
    check_histories(database)


@pytest.mark.slow
def test_workers_that_are_killed(
    daemons: Daemons, database: CampaignDatabase, tmp_path: Path
) -> None:
    """Two workers, killed in turn: every run is done, with one row; repetitions are counted."""
    config = write_configuration(daemons, table=SHORT)
    add_one_offs_for(database, "table", 100, utc_now() + timedelta(seconds=2))
    daemons.start_ready(database.url, config=config)
    log = tmp_path / "log"
    program = script(
        tmp_path,
        f"""
import json, sys, time
time.sleep(0.02)
data = json.load(sys.stdin)["data"]
with open({str(log)!r}, "a") as file: file.write(json.dumps(data["run_id"]) + "\\n")
""",
    )
    for _ in range(3):
        working = worker(daemons, database, config, program, "-c", "4")
        before = len(log.read_text().splitlines()) if log.exists() else 0
        wait_until(
            "work", lambda before=before: len(log.read_text().splitlines()) > before + 10
        ) if log.exists() else wait_until("work", log.exists)
        working.kill()
    worker(daemons, database, config, program, "-c", "4")
    database.wait_until(ENDED, 100)
    assert database.statuses("runs") == {"completed": 100}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(set(lines)) == 100
    print(f"3 kills of a worker, 100 runs: {len(lines) - 100} done more than once")
    assert len(lines) - 100 <= 3 * 4
    check_histories(database)
