"""A daemon waits for a database that goes away while the daemon starts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.cluster import Cluster
from tests.support.chaos.proxy import OPEN


@pytest.mark.parametrize(
    "at",
    [b"alembic_version", b"schedule_definitions.tzdata", b"INSERT INTO nodes", b"UPDATE nodes"],
)
def test_cut_while_it_starts(database_url: str, tmp_path: Path, at: bytes) -> None:
    """The start continues once the database answers again, whatever the statement was."""
    cluster = Cluster(None, database_url, tmp_path, 1, "http://127.0.0.1:9/")
    (node,) = cluster.nodes
    try:
        node.proxy.deafen_at(at)
        node.start()
        assert node.process is not None
        with CampaignDatabase(database_url) as database:
            cut = (
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'campaignd%%'"
                " AND datname = current_database() AND state LIKE 'idle%%' AND query LIKE %s"
            )
            database.wait_until(cut, f"%{at.decode()}%")
            node.proxy.set_mode(OPEN)
        node.process.wait_for("waiting_for_database")
        node.process.wait_for("ready")
        assert node.end_by_signal(signal.SIGTERM) == 0
    finally:
        cluster.close()
