"""A streaming standby of a server, which can be promoted."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from storage.embedded import postmaster
from storage.embedded.os_user import server_user
from tests.support.postgres import PostgresServer

PROMOTED_WITHIN_S = 60.0


@contextlib.contextmanager
def standby_of(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Create a standby that every commit waits for."""
    top = Path(tempfile.mkdtemp(prefix="campaignd-own-"))
    top.chmod(0o711)
    place = top / "postgres"
    place.mkdir(mode=0o711)
    data = place / "data"
    user = server_user(primary.data)
    user.take_ownership(place)
    programs = postmaster.find_programs(primary.data)
    subprocess.run(
        [
            programs / "pg_basebackup",
            f"--pgdata={data}",
            f"--dbname={primary.url}&application_name=standby",
            "--write-recovery-conf",
            "--checkpoint=fast",
        ],
        check=True,
        cwd="/",
        **user.popen_options(),  # type: ignore[call-overload]
    )
    socket_dir = postmaster.make_socket_dir(place / "run", user)
    postmaster.start_server(programs, data, user, socket_dir, place / "server.log")
    server = PostgresServer(top, primary.url.replace(str(primary.socket_dir), str(socket_dir)))
    try:
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            wait_until_synchronous(connection)
        yield server
    finally:
        with contextlib.suppress(Exception):
            server.end_by_signal(signal.SIGQUIT)
        shutil.rmtree(top, ignore_errors=True)


def wait_until_synchronous(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Wait until every commit is on both servers."""
    deadline = time.monotonic() + PROMOTED_WITHIN_S
    state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
    while connection.execute(state).fetchone() == (0,):
        assert time.monotonic() < deadline, "the standby does not follow"
        time.sleep(0.02)


def promote(standby: PostgresServer) -> None:
    """Make the standby the primary, which waits for no other server."""
    with psycopg.connect(standby.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        connection.execute("SELECT pg_promote()")


def url_of_both(primary: PostgresServer, standby: PostgresServer) -> str:
    """Return a URL of both servers, which connects to the writable one."""
    one, other = str(primary.socket_dir), str(standby.socket_dir)
    url = primary.url.replace(one, f"{one},{other}")
    return f"{url},5432&target_session_attrs=read-write"
