"""Locks of another session, such as a forgotten transaction, delay no other campaign."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.configured_targets import write_configuration
from tests.support.processes import Daemons
from tests.support.waiting import utc_now

PLACES = 2
"""Attempts of the target at once; as many have ended, and wait for the lock."""
LOCKS = {
    "campaigns": "SELECT 1 FROM campaigns WHERE id = ANY(%(ids)s) FOR UPDATE",
    "runs": "UPDATE runs SET error = error WHERE campaign_id = ANY(%(ids)s)",
    "timers": "SELECT 1 FROM timers WHERE campaign_id = ANY(%(ids)s) FOR UPDATE",
    "nodes": "UPDATE nodes SET host = host",
}


@contextmanager
def locked(url: str, statement: str, ids: list[int]) -> Iterator[None]:
    """Keep a transaction open that has executed the statement."""
    with psycopg.connect(url) as holder:
        holder.execute(statement.encode(), {"ids": ids})
        yield
        holder.rollback()


@pytest.mark.parametrize("table", LOCKS)
def test_locked_rows_delay_no_other_campaign(
    daemons: Daemons, database_url: str, tmp_path: Path, table: str
) -> None:
    """Neither runs that start nor those that end; what was locked follows when it is unlocked."""
    gate = tmp_path / "gate"
    script = f"while ! test -e {gate}; do sleep 0.02; done"
    command = {"type": "command", "argv": ["/bin/sh", "-c", script], "concurrency": PLACES}
    config = write_configuration(daemons, gated=command)
    with CampaignDatabase(database_url) as database:

        def add(count: int, ahead: float) -> list[int]:
            with database.connection.transaction():
                ids = [*database.add_one_offs(count, utc_now() + timedelta(seconds=ahead))]
                database.rows("UPDATE campaigns SET target = 'gated' WHERE id = ANY(%s)", ids)
            return ids

        def completed(ids: list[int]) -> None:
            database.wait_until(
                "SELECT count(*) = %s FROM runs WHERE campaign_id = ANY(%s)"
                " AND status = 'completed'",
                len(ids),
                ids,
            )

        daemon = daemons.start_ready(database_url, CAMPAIGND_CONFIG=config)
        first = add(PLACES, 0)
        database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'executing'", PLACES)
        armed = add(PLACES, 3600)
        with locked(database_url, LOCKS[table], [*first, *armed]):
            gate.touch()
            others = add(3 * PLACES, 0.2)
            completed(others)
            if table in ("campaigns", "runs"):
                assert database.statuses("runs")["executing"] == PLACES
        completed(first)
        assert daemon.events_named("lease_lost") == []
        assert daemon.stop() == 0
