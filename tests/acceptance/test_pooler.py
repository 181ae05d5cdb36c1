"""Nodes behind PgBouncer in transaction mode, where each transaction may use another connection."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from storage.embedded.os_user import server_user
from storage.prune import LOCK
from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.machines.debian import install_or_skip
from tests.support.old_history import add_history_days
from tests.support.postgres import PostgresServer, private_server
from tests.support.processes import Daemons
from tests.support.waiting import utc_now, wait_until

pytestmark = pytest.mark.machine

INI = """
[databases]
campaignd = host={host} port=5432 user=postgres dbname=campaignd
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 6
server_round_robin = 1
logfile = {log}
"""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with private_server() as found:
        yield found


class Pooler:
    """One PgBouncer in front of a server."""

    def __init__(self, server: PostgresServer, top: Path) -> None:
        self._program = install_or_skip("pgbouncer", "pgbouncer")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/campaignd"
        self._user = server_user(server.data)
        self._user.take_ownership(top)
        self._ini = top / "pgbouncer.ini"
        self._ini.write_text(INI.format(host=server.socket_dir, port=self.port, log=top / "log"))
        self._user.take_ownership(self._ini)
        self.start()

    def start(self) -> None:
        """Start PgBouncer; return when it answers."""
        self._process = subprocess.Popen(
            [self._program, "-q", self._ini],
            cwd="/",
            **self._user.popen_options(),  # type: ignore[call-overload]
        )
        wait_until("the pooler", self._answers)

    def _answers(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Kill PgBouncer by SIGKILL."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def pooler(server: PostgresServer) -> Iterator[Pooler]:
    """The server's database through PgBouncer."""
    top = Path(tempfile.mkdtemp(prefix="campaignd-pooler-"))
    found = Pooler(server, top)
    try:
        yield found
    finally:
        found.kill()
        shutil.rmtree(top, ignore_errors=True)


def test_two_nodes_through_a_pooler(
    daemons: Daemons, server: PostgresServer, pooler: Pooler
) -> None:
    """`listen_database_url` names the server itself; edits arrive, and every run completes."""
    nodes = [daemons.start_ready(pooler.url, listen_database_url=server.url) for _ in range(2)]
    with CampaignDatabase(server.url) as database:
        begins = utc_now() + timedelta(seconds=1)
        for number in range(20):
            database.add_one_offs(50, begins + timedelta(seconds=0.5 * number))
        database.wait_until(
            "SELECT count(*) = 1000 FROM runs WHERE status = 'completed'", within=40
        )
        assert database.statuses() == {"completed": 1000}
        check_histories(database)
    for node in nodes:
        for event in ("database_lost", "sessions_not_named", "listen_elsewhere"):
            assert node.events_named(event) == []
        assert node.stop() == 0


def test_a_node_is_killed_then_the_pooler(
    daemons: Daemons, server: PostgresServer, pooler: Pooler, tmp_path: Path
) -> None:
    """The other node takes over the runs in flight, and waits until the pooler is back."""
    config = tmp_path / "targets.toml"
    slow = '[targets.slow]\ntype = "command"\nargv = ["/bin/sleep", "2"]\nconcurrency = 5\n'
    config.write_text(slow)
    settings = {"CAMPAIGND_CONFIG": config, "listen_database_url": server.url}
    killed = daemons.start_ready(pooler.url, node_name="killed", **settings)
    with CampaignDatabase(server.url) as database:
        campaigns = database.add_one_offs(5, utc_now() + timedelta(seconds=1))
        database.rows("UPDATE campaigns SET target = 'slow' WHERE id = ANY (%s)", list(campaigns))
        database.wait_until("SELECT count(*) = 5 FROM runs WHERE status = 'executing'")
        other = daemons.start_ready(pooler.url, node_name="other", **settings)
        killed.kill()
        other.wait_for("node_lost")
        begins = utc_now() + timedelta(seconds=1)
        for number in range(6):
            database.add_one_offs(50, begins + timedelta(seconds=number))
        wait_until("some are due", lambda: utc_now() > begins + timedelta(seconds=1))
        pooler.kill()
        other.wait_for("database_lost")
        pooler.start()
        other.wait_for("database_back")
        database.wait_until("SELECT count(*) = 305 FROM runs WHERE status = 'completed'", within=40)
        assert database.statuses() == {"completed": 305}
        taken = "SELECT DISTINCT takeovers FROM runs WHERE campaign_id = ANY (%s)"
        assert database.rows(taken, list(campaigns)) == [{"takeovers": 1}]
        check_histories(database)
    assert len(other.events_named("database_lost")) == 1
    assert other.stop() == 0


def test_who_prunes_is_killed(daemons: Daemons, server: PostgresServer, pooler: Pooler) -> None:
    """Killed in the middle: no lock stays on the pooler's connections, and another node prunes."""
    env = daemons.environment(pooler.url, listen_database_url=server.url)
    prune = ("prune", "--keep-days", "1")
    with CampaignDatabase(server.url) as database:
        database.add_one_offs(10, utc_now() + timedelta(days=1))
        add_history_days(database, 5)
        # Three clients at once, so that the pooler has three connections, used in turn.
        with contextlib.ExitStack() as clients:
            for _ in range(3):
                clients.enter_context(psycopg.connect(pooler.url)).execute("SELECT 1")
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
        with CampaignDatabase(server.url) as stranger, stranger.connection.transaction():
            stranger.rows("LOCK TABLE campaign_events IN SHARE MODE")
            killed = daemons.start_command(*prune, env=env)
            database.wait_until(
                "SELECT count(*) = 1 FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND query LIKE '%%DELETE FROM campaign_events%%'"
            )
            assert database.one(locks, LOCK) == 1
            killed.kill()
        database.wait_until(locks.replace("count(*)", "count(*) = 0"), LOCK)
        assert daemons.start_command(*prune, env=env).join() == 0
        for table in ("runs", "campaign_events"):
            assert database.one(f"SELECT count(*) FROM {table}") == 10
