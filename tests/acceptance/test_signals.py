"""Signals, systemd's socket, and the log as seen from outside."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.processes import Daemons, Process
from tests.support.waiting import PATIENCE_S, utc_now, wait_until

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drains(daemons: Daemons, database: CampaignDatabase, number: signal.Signals) -> None:
    """In the middle of a burst: attempts in flight end, the rest stays due; exit code 0."""
    at = utc_now() + timedelta(seconds=2)
    database.add_one_offs(5000, at)
    daemon = daemons.start_ready(database.url)
    database.wait_until("SELECT count(*) > 0 FROM runs")
    daemon.send_signal(number)
    assert daemon.join() == 0

    assert len(daemon.events_named("stopping")) == 1
    assert json.loads(daemon.lines[-1])["event"] == "stopped"
    assert set(database.statuses("runs")) == {"completed"}
    assert set(database.statuses()) <= {"completed", "scheduled"}
    done = database.one("SELECT count(*) FROM runs")
    assert len(daemon.events_named("run_finished")) == done
    assert database.one("SELECT count(*) FROM nodes") == 0, "it has left"

    again = daemons.start_ready(database.url)
    database.wait_until("SELECT count(*) = 5000 FROM runs WHERE status = 'completed'")
    assert again.events_named("node_lost") == [], "nothing had to wait for a lease"
    assert database.one("SELECT max(attempt + takeovers) FROM runs") == 1
    check_histories(database)
    print(f"\n{done} of 5000 before the signal took effect")


def wait_until_handled(daemon: Process, number: signal.Signals) -> None:
    """Wait until a new process handles a signal."""
    status = Path(f"/proc/{daemon.pid}/status")
    bit = 1 << (number - 1)

    def is_caught() -> bool:
        (caught,) = re.findall(r"SigCgt:\s*(\w+)", status.read_text())
        return bool(int(caught, 16) & bit)

    wait_until(f"it handles {number.name}", is_caught)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_without_meaning_during_the_start(
    daemons: Daemons, database: CampaignDatabase, number: signal.Signals
) -> None:
    """A SIGHUP during the start, as from a fast script, does not prevent the start."""
    daemon = daemons.start(database.url)
    wait_until_handled(daemon, number)
    daemon.send_signal(number)
    daemon.wait_for("ready")
    assert daemon.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_first_imports(daemons: Daemons, number: signal.Signals) -> None:
    """The daemon ends with exit code 0 and without a word, before it has read its settings."""
    daemon = daemons.start("postgresql://u@127.0.0.1:1/nowhere")
    wait_until_handled(daemon, signal.SIGUSR2)  # the last of those that are handled early
    daemon.send_signal(number)
    assert daemon.join() == 0
    assert daemon.lines == []


def test_a_reader_of_the_log_that_stalls(daemons: Daemons, database: CampaignDatabase) -> None:
    """Everything fires, and SIGTERM ends the daemon: lines are lost rather than waited for."""
    reader, writer = os.pipe()
    daemon = daemons.start(database.url, stderr=writer)
    os.close(writer)
    database.wait_until("SELECT count(*) = 1 FROM nodes")
    database.add_one_offs(600, utc_now())
    database.wait_until("SELECT count(*) = 600 FROM runs WHERE status = 'completed'")
    assert daemon.stop() == 0
    written = os.read(reader, 1 << 20)
    os.close(reader)
    assert written.startswith(b'{"timestamp"')
    assert b'"stopped"' not in written, "the pipe was full"
    assert database.one("SELECT count(*) FROM nodes") == 0, "it has left"


@pytest.mark.parametrize(
    ("second", "codes"),
    [(signal.SIGTERM, (-signal.SIGTERM, 128 + signal.SIGTERM)), (signal.SIGINT, (130,))],
)
def test_second_signal_ends_at_once(
    daemons: Daemons, database: CampaignDatabase, second: signal.Signals, codes: tuple[int, ...]
) -> None:
    """A second signal ends the daemon at once, without waiting for the drain."""
    holder = database.connection
    # The killed node's shards are reassigned after its lease.
    daemon = daemons.start_ready(database.url, scheduler__lease=1, scheduler__heartbeat=0.2)
    # A lock on a table that the daemon must write keeps its drain from ending.
    with CampaignDatabase(database.url) as other, holder.transaction():
        holder.execute("LOCK TABLE runs IN SHARE MODE")
        (campaign,) = other.add_one_offs(1, utc_now())
        blocked = """
            SELECT count(*) FROM pg_stat_activity
            WHERE application_name ~ '^campaignd-[0-9a-f]{6}$' AND wait_event_type = 'Lock'
              AND datname = current_database()
        """
        wait_until("its claim waits", lambda: database.one(blocked))
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_for("stopping")
        assert daemon.process.poll() is None
        daemon.send_signal(second)
        assert daemon.join() in codes
    again = daemons.start_ready(database.url)
    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign)
    assert again.stop() == 0
    assert database.statuses("runs") == {"completed": 1}


def test_reload(daemons: Daemons, database: CampaignDatabase, tmp_path: Path) -> None:
    """Changes apply at once or are reported as needing a restart; an invalid file is refused."""
    file = tmp_path / "campaignd.toml"
    file.write_text('[log]\nlevel = "info"\n')
    env = daemons.environment(database.url)
    daemon = daemons.start_command("--config", str(file), "run", env=env)
    daemon.wait_for("ready")

    def run_one() -> int:
        mark = daemon.line_count()
        (campaign,) = database.add_one_offs(1, utc_now())
        database.wait_until("SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign)
        return mark

    run_one()
    daemon.wait_for("run_finished")
    assert daemon.events_named("run_claimed") == [], "logged at debug only"

    file.write_text('[log]\nlevel = "debug"\n[scheduler]\nlease = 7\n')
    daemon.send_signal(signal.SIGHUP)
    assert daemon.wait_for("reloaded")["needs_restart"] == ["scheduler.lease"]
    daemon.wait_for("run_claimed", after=run_one())

    file.write_text('[log]\nlevel = "loud"\n')
    daemon.send_signal(signal.SIGHUP)
    failed = daemon.wait_for("reload_failed")
    assert failed["level"] == "error"
    assert "log.level" in failed["error"]
    daemon.wait_for("run_claimed", after=run_one())

    file.write_text('[log]\nlevel = "warning"\n')
    mark = daemon.line_count()
    daemon.send_signal(signal.SIGHUP)
    wait_until("the level is another", lambda: _is_quiet(run_one, daemon.line_count))
    assert daemon.stop() == 0
    assert all(json.loads(line)["event"] != "stopped" for line in daemon.lines[mark:])


def _is_quiet(run_one: object, mark: object) -> bool:
    assert callable(run_one)
    assert callable(mark)
    before = run_one()
    return bool(mark() == before)


@contextmanager
def notify_socket(path: Path) -> Iterator[socket.socket]:
    """Listen on the socket of systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(PATIENCE_S)
        yield server


def test_systemd_is_notified(daemons: Daemons, database: CampaignDatabase, tmp_path: Path) -> None:
    """READY after the start; RELOADING with the clock's time, then READY; STOPPING."""
    with notify_socket(tmp_path / "notify") as server:
        daemon = daemons.start(database.url, NOTIFY_SOCKET=str(tmp_path / "notify"))

        def receive() -> dict[str, str]:
            lines = server.recv(4096).decode().splitlines()
            return dict(line.split("=", 1) for line in lines)

        def receive_until(key: str) -> dict[str, str]:
            while key not in (message := receive()):
                assert set(message) <= {"STATUS", "WATCHDOG"}
            return message

        assert receive_until("READY")["READY"] == "1"
        daemon.wait_for("ready", within=10)  # The log line comes before the message.
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.send_signal(signal.SIGHUP)
        reloading = receive_until("RELOADING")
        assert before <= int(reloading["MONOTONIC_USEC"])
        assert receive_until("READY")["READY"] == "1"
        daemon.send_signal(signal.SIGTERM)
        assert receive_until("STOPPING")["STOPPING"] == "1"
        assert daemon.join() == 0


def test_json_lines_on_a_pipe(daemons: Daemons, database: CampaignDatabase) -> None:
    """Every line is one JSON object with the fixed keys, and those of the campaign if any."""
    daemon = daemons.start_ready(database.url, log__level="debug", node_name="lines")
    (campaign,) = database.add_one_offs(1, utc_now())
    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE id = %s", campaign)
    daemon.wait_for("run_finished")
    assert daemon.stop() == 0

    lines = [json.loads(line) for line in daemon.lines]
    for line in lines:
        assert list(line)[:3] == ["timestamp", "level", "event"]
        assert TIMESTAMP.fullmatch(line["timestamp"])
        assert line["level"] in ("debug", "info", "warning", "error", "critical")
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", line["event"])
    stamps = [line["timestamp"] for line in lines]
    assert stamps == sorted(stamps)
    assert all(line["node"].startswith("lines-") for line in lines[2:])

    run = database.rows("SELECT * FROM runs")[0]
    uuid = database.one("SELECT uuid FROM campaigns")
    (finished,) = daemon.events_named("run_finished")
    assert (
        finished.items()
        >= {
            "campaign_id": campaign,
            "campaign_uuid": str(uuid),
            "run_id": str(run["id"]),
            "scheduled_for": run["scheduled_for"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "attempt": 1,
            "target": "log",
            "from_status": "executing",
            "to_status": "completed",
        }.items()
    )
    late = (run["started_at"] - run["scheduled_for"]) / timedelta(milliseconds=1)
    assert finished["lateness_ms"] == pytest.approx(late, abs=0.01)


def test_columns_on_a_terminal(daemons: Daemons, database: CampaignDatabase) -> None:
    """For people: time, level, event, and its fields."""
    leader, follower = pty.openpty()
    daemon = daemons.start(database.url, stderr=follower)
    os.close(follower)
    try:
        printed = b""
        while b"ready" not in printed:
            printed += os.read(leader, 4096)
        daemon.send_signal(signal.SIGTERM)
        while chunk := _read(leader):
            printed += chunk
    finally:
        os.close(leader)
    assert daemon.join() == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed.decode()).splitlines()
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z (info|warning) +[a-z_]+", line)
    assert lines[0].split()[3] == "starting"
    assert lines[-1].split()[3] == "stopped"
    assert "\x1b[" in printed.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # Linux raises this when the other end of a terminal is closed.
        return b""


def test_too_late_is_missed(daemons: Daemons, database: CampaignDatabase) -> None:
    """Later than misfire_grace_time: no attempt, a row, a warning; just within it: it runs."""
    now = utc_now()
    (late,) = database.add_one_offs(1, now - timedelta(seconds=90), grace=60)
    (in_time,) = database.add_one_offs(1, now - timedelta(seconds=90), grace=3600)
    daemon = daemons.start_ready(database.url)

    line = daemon.wait_for("run_missed")
    assert line["level"] == "warning"
    assert line["campaign_id"] == late
    assert line["lateness_ms"] > 90_000
    assert line["to_status"] == "failed"
    daemon.wait_for("run_finished", campaign_id=in_time)
    runs = database.rows(
        "SELECT campaign_id, status, attempt, started_at IS NULL AS idle FROM runs"
    )
    assert sorted(runs, key=lambda run: run["campaign_id"]) == [
        {"campaign_id": late, "status": "missed", "attempt": 0, "idle": True},
        {"campaign_id": in_time, "status": "completed", "attempt": 1, "idle": False},
    ]
    assert database.statuses() == {"failed": 1, "completed": 1}
    check_histories(database)
