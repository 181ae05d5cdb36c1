"""Faults of a server that stays up: it hangs, is full, is read-only, or is replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.postgres import PostgresServer, private_server
from tests.support.processes import Daemons, Process
from tests.support.standby import promote, standby_of, url_of_both
from tests.support.waiting import utc_now, wait_until

EACH = 30


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with private_server() as found:
        yield found


def plan(database: CampaignDatabase, instants: int, every: float = 1.0) -> int:
    """Store campaigns that are due from a second from now on; return their number."""
    begins = utc_now() + timedelta(seconds=1)
    for number in range(instants):
        database.add_one_offs(EACH, begins + timedelta(seconds=every * number))
    return instants * EACH


def check_all_done(url: str, daemon: Process, count: int, outages: int | None = 1) -> None:
    """Check that each run completed once, that the daemon stops, and that it logged the number of
    outages and their ends, if it is known.
    """
    with CampaignDatabase(url) as database:
        database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'completed'", count)
        assert database.statuses() == {"completed": count}
        check_histories(database)
    daemon.wait_for("database_back")
    lost = len(daemon.events_named("database_lost"))
    wait_until("each outage has ended", lambda: len(daemon.events_named("database_back")) == lost)
    assert lost == outages or outages is None
    assert daemon.stop() == 0


@pytest.mark.slow
def test_a_server_that_stands_still(daemons: Daemons, server: PostgresServer) -> None:
    """Frozen for longer than the lease: connections stay open, replies do not come."""
    daemon = daemons.start_ready(server.url)
    with CampaignDatabase(server.url) as database:
        count = plan(database, 6)
        database.wait_until("SELECT count(*) > 0 FROM runs")
    postmaster = psutil.Process(server.pid)
    everybody = [postmaster, *postmaster.children()]
    for process in everybody:
        process.suspend()
    try:
        daemon.wait_for("database_lost")
    finally:
        for process in everybody:
            process.resume()
    check_all_done(server.url, daemon, count)


def test_a_server_without_a_free_connection(daemons: Daemons, server: PostgresServer) -> None:
    """Others take every connection while the daemon's are cut; once some leave, all goes on."""
    daemon = daemons.start_ready(server.url)
    with CampaignDatabase(server.url) as database, contextlib.ExitStack() as others:
        count = plan(database, 4)

        def crowd_out() -> bool:
            database.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'campaignd%%'"
            )
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(psycopg.connect(server.url))
            return bool(daemon.events_named("database_lost"))

        # The daemon reconnects quickly, so its connections are taken a few at a time.
        wait_until("the daemon has none", crowd_out)
        later = utc_now() + timedelta(seconds=3)
        wait_until("some came due", lambda: utc_now() > later)
        others.close()
        # The daemon may have found a connection that had just become free, and lost it again.
        check_all_done(server.url, daemon, count, outages=None)


def test_a_server_that_is_read_only(daemons: Daemons, server: PostgresServer) -> None:
    """Like a standby, or a primary whose disk is protected: reads succeed, writes fail."""
    daemon = daemons.start_ready(server.url)
    with CampaignDatabase(server.url) as database:
        count = plan(database, 4)
        database.wait_until("SELECT count(*) > 0 FROM runs")
        database.rows("ALTER SYSTEM SET default_transaction_read_only = on")
        database.rows("SELECT pg_reload_conf()")
        daemon.wait_for("database_lost")
        later = utc_now() + timedelta(seconds=3)
        wait_until("some came due", lambda: utc_now() > later)
        database.rows("SET default_transaction_read_only = off")
        database.rows("ALTER SYSTEM RESET default_transaction_read_only")
        database.rows("SELECT pg_reload_conf()")
    check_all_done(server.url, daemon, count)


@pytest.mark.slow
def test_a_standby_takes_over(daemons: Daemons, server: PostgresServer) -> None:
    """The primary is killed and its synchronous standby promoted: the same daemon goes on there."""
    with standby_of(server) as second:
        daemon = daemons.start_ready(url_of_both(server, second))
        with CampaignDatabase(server.url) as database:
            count = plan(database, 6)
            database.wait_until("SELECT count(*) > 0 FROM runs")
        server.end_by_signal(signal.SIGKILL)
        daemon.wait_for("database_lost")
        promote(second)
        check_all_done(second.url, daemon, count)


@pytest.mark.machine
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk(daemons: Daemons, tmp_path: Path) -> None:
    """Writes fail, and the server may even crash; with free space again all goes on."""
    mounted = Path(tempfile.mkdtemp(prefix="campaignd-small-"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0711", "tmpfs", mounted], check=False
    )
    if done.returncode != 0:
        mounted.rmdir()
        pytest.skip("no file system can be mounted here")
    filler = mounted / "filler"
    try:
        with private_server(mounted) as server:
            daemon = daemons.start_ready(server.url)
            with CampaignDatabase(server.url) as database:
                count = plan(database, 8)
                database.wait_until("SELECT count(*) > 0 FROM runs")
            with filler.open("wb") as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            with contextlib.suppress(psycopg.Error), CampaignDatabase(server.url) as database:
                database.rows("CREATE TABLE ballast AS SELECT generate_series(1, 3000000) AS n")
            daemon.wait_for("database_lost")
            filler.unlink()
            if not server.is_alive:
                server.start()
            check_all_done(server.url, daemon, count)
    finally:
        subprocess.run(["umount", "-l", mounted], check=False)
        mounted.rmdir()
