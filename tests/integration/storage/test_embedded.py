"""The embedded server: starting, sharing, stopping, and recovery after kills."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from storage.embedded import EmbeddedError, embedded_postgres, postmaster
from tests.support.embedded_child import (
    EmbeddedUser,
    running_server_of,
    select_value,
)


def test_starts_empty_serves_and_stops(state_dir: Path) -> None:
    """A first start creates the cluster and the database; at the end no server runs."""
    with embedded_postgres(state_dir) as dsn:
        assert select_value(dsn, "SELECT current_database()") == "campaignd"
        assert select_value(dsn, "SHOW fsync") == "on"
        assert select_value(dsn, "SHOW synchronous_commit") == "on"
        assert select_value(dsn, "SHOW listen_addresses") == ""
        assert running_server_of(state_dir) is not None
    assert running_server_of(state_dir) is None


def test_keeps_data_and_initialises_once(state_dir: Path) -> None:
    """The second start finds the data of the first."""
    events: list[str] = []

    def log(event: str, **fields: object) -> None:
        events.append(event)

    with embedded_postgres(state_dir, log=log) as dsn, psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    with embedded_postgres(state_dir, log=log) as dsn:
        assert select_value(dsn, "SELECT value FROM kept") == 42
    assert events.count("embedded_initialising") == 1
    assert events[-1] == "embedded_stopped"


def test_the_last_process_stops_the_server(state_dir: Path) -> None:
    """A command beside a daemon joins its server; the last process stops it."""
    daemon = EmbeddedUser(state_dir)
    daemon.wait_for("in")
    first = running_server_of(state_dir)

    command = EmbeddedUser(state_dir)
    dsn = command.wait_for("in")["dsn"]
    assert "embedded_joined" in command.seen
    assert daemon.leave_and_wait() == 0
    assert running_server_of(state_dir) == first
    assert select_value(dsn, "SELECT 1") == 1

    assert command.leave_and_wait() == 0
    assert running_server_of(state_dir) is None


def test_nested_use_in_one_process(state_dir: Path) -> None:
    """The inner block does not stop the server of the outer block."""
    with embedded_postgres(state_dir) as outer:
        with embedded_postgres(state_dir) as inner:
            assert inner == outer
        assert select_value(outer, "SELECT 1") == 1
    assert running_server_of(state_dir) is None


def test_starting_at_the_same_time(state_dir: Path) -> None:
    """When several processes start on an empty directory, one creates the cluster for all."""
    children = [EmbeddedUser(state_dir) for _ in range(4)]
    for child in children:
        child.wait_for("in")
    assert sum("embedded_initialising" in child.seen for child in children) == 1
    assert sum("embedded_started" in child.seen for child in children) == 1
    assert [child.leave_and_wait() for child in children] == [0, 0, 0, 0]
    assert running_server_of(state_dir) is None


def test_kill_9_is_cleaned_up_by_the_next(state_dir: Path) -> None:
    """A killed process leaves its server running; the next process joins and stops it."""
    killed = EmbeddedUser(state_dir)
    killed.wait_for("in")
    killed.kill_and_wait()
    assert running_server_of(state_dir) is not None
    with embedded_postgres(state_dir) as dsn:
        assert select_value(dsn, "SELECT 1") == 1
    assert running_server_of(state_dir) is None


def test_kill_9_of_the_server_too(state_dir: Path) -> None:
    """As after a power cut: the pid file is stale, the server recovers, and no data is lost."""
    killed = EmbeddedUser(state_dir)
    dsn = killed.wait_for("in")["dsn"]
    with psycopg.connect(str(dsn)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    running = running_server_of(state_dir)
    assert running is not None
    killed.kill_and_wait()
    os.kill(running.pid, signal.SIGKILL)
    with embedded_postgres(state_dir) as dsn:
        assert select_value(dsn, "SELECT value FROM kept") == 42


@pytest.mark.parametrize("number", ["ours", "a stranger's", "unused"])
def test_stale_pid_file(state_dir: Path, number: str) -> None:
    """A leftover postmaster.pid does not count, even when its number is in use again."""
    with embedded_postgres(state_dir):
        path = state_dir / "postgres" / "data" / "postmaster.pid"
        lines = path.read_text().splitlines()
    # The user of the server: PostgreSQL ignores the processes of other users by itself.
    owner = path.parent.stat().st_uid
    with subprocess.Popen(["sleep", "600"], user=owner) as stranger:
        try:
            pid = {"ours": os.getpid(), "a stranger's": stranger.pid, "unused": 4_194_000}[number]
            path.write_text("\n".join([str(pid), *lines[1:]]) + "\n")
            os.chown(path, owner, -1)
            with embedded_postgres(state_dir) as dsn:
                assert select_value(dsn, "SELECT 1") == 1
        finally:
            stranger.kill()
    assert running_server_of(state_dir) is None


def test_empty_pid_file(state_dir: Path) -> None:
    """A postmaster.pid that a crash has cut short does not count either."""
    with embedded_postgres(state_dir):
        path = state_dir / "postgres" / "data" / "postmaster.pid"
    path.touch()
    with embedded_postgres(state_dir) as dsn:
        assert select_value(dsn, "SELECT 1") == 1


def test_killed_initdb_is_repeated(state_dir: Path) -> None:
    """The files of a killed initdb are not used as a cluster."""
    unfinished = state_dir / "postgres" / "data.initdb"
    (unfinished / "base").mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    with embedded_postgres(state_dir) as dsn:
        assert select_value(dsn, "SELECT 1") == 1
    assert not unfinished.exists()


def test_empty_data_directory_is_initialised(state_dir: Path) -> None:
    """An empty directory, such as a new volume, is initialised."""
    (state_dir / "postgres" / "data").mkdir(parents=True)
    with embedded_postgres(state_dir) as dsn:
        assert select_value(dsn, "SELECT 1") == 1


def test_damaged_cluster_is_not_overwritten(state_dir: Path) -> None:
    """A cluster without its control file is reported and not changed."""
    with embedded_postgres(state_dir):
        pass
    control = state_dir / "postgres" / "data" / "global" / "pg_control"
    control.unlink()
    with (
        pytest.raises(EmbeddedError, match="is not a complete PostgreSQL data directory"),
        embedded_postgres(state_dir),
    ):
        pass
    assert (state_dir / "postgres" / "data" / "base").is_dir()


def test_a_server_started_by_hand_is_left_running(state_dir: Path) -> None:
    """The server is used, and not stopped."""
    with embedded_postgres(state_dir):
        pass
    data = state_dir / "postgres" / "data"
    owner = data.stat()
    programs = postmaster.find_programs(data)

    def by_hand(*command: object) -> None:
        subprocess.run(
            [programs / "pg_ctl", "-w", "-D", data, *command],  # type: ignore[list-item]
            user=owner.st_uid,
            cwd="/",
            stdout=subprocess.DEVNULL,
            check=True,
        )

    by_hand("-l", data / "log", "-o", f"-k '{data}' -h ''", "start")
    try:
        before = running_server_of(state_dir)
        with embedded_postgres(state_dir) as dsn:
            assert select_value(dsn, "SELECT 1") == 1
        assert before is not None
        assert running_server_of(state_dir) == before
    finally:
        by_hand("stop")


def test_control_c_does_not_reach_the_server(state_dir: Path) -> None:
    """An interrupt to the whole foreground group leaves the server to the daemon."""
    child = EmbeddedUser(state_dir, start_new_session=True)
    dsn = child.wait_for("in")["dsn"]
    running = running_server_of(state_dir)
    assert running is not None
    with psycopg.connect(str(dsn)) as session:
        os.killpg(child.process.pid, signal.SIGINT)
        child.wait_for("sigint")
        assert session.execute("SELECT 1").fetchone() == (1,)
        assert os.getsid(running.pid) != os.getsid(child.process.pid)
    assert child.leave_and_wait() == 0


def test_a_long_path_gets_its_socket_elsewhere(state_dir: Path) -> None:
    """A socket with a too long name gets a private directory, which is removed again."""
    deep = state_dir / ("d" * 100) / ("e" * 100)
    with embedded_postgres(deep) as dsn:
        assert select_value(dsn, "SELECT 1") == 1
        running = running_server_of(deep)
        assert running is not None
        assert deep not in running.socket_dir.parents
        assert running.socket_dir.stat().st_mode & 0o077 == 0
    assert not running.socket_dir.exists()


def test_odd_names_survive_quoting(state_dir: Path) -> None:
    """Quotes, commas, percent signs and letters beyond ASCII in the path."""
    with embedded_postgres(state_dir / "a'b\"c,d%20é&x=y?#") as dsn:
        assert select_value(dsn, "SELECT 1") == 1


def test_the_socket_is_closed_to_others(state_dir: Path) -> None:
    """The directory protects the socket: no other user can reach it."""
    with embedded_postgres(state_dir):
        assert (state_dir / "postgres" / "run").stat().st_mode & 0o077 == 0
        assert (state_dir / "postgres" / "data").stat().st_mode & 0o077 == 0
