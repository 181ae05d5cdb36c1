"""Another session has locked a table: statements hang, and connections run out."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.cluster import ChaosNode, Cluster
from tests.support.histories import check_histories
from tests.support.waiting import utc_now

EACH = 30
INSTANTS = 8


@contextmanager
def one_node(database_url: str, directory: Path, pool_size: int) -> Iterator[ChaosNode]:
    settings = {"database__pool_size": pool_size}
    cluster = Cluster(None, database_url, directory, 1, "http://127.0.0.1:9/", settings=settings)
    try:
        yield cluster.nodes[0]
    finally:
        cluster.close()


@pytest.mark.slow
@pytest.mark.parametrize(("table", "pool_size"), [("campaigns", 1), ("timers", 5)])
def test_a_locked_table(database_url: str, tmp_path: Path, table: str, pool_size: int) -> None:
    """The lock outlasts any statement: the outage is logged once, and every run catches up."""
    with (
        one_node(database_url, tmp_path, pool_size) as node,
        CampaignDatabase(database_url) as database,
    ):
        node.start()
        assert node.process is not None
        node.process.wait_for("ready")
        begins = utc_now() + timedelta(seconds=1)
        for number in range(INSTANTS):
            database.add_one_offs(EACH, begins + timedelta(seconds=number))
        database.wait_until("SELECT count(*) > 0 FROM runs")
        with psycopg.connect(database_url) as stranger:
            stranger.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            node.process.wait_for("database_lost")
        node.process.wait_for("database_back")
        whole = EACH * INSTANTS
        database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'completed'", whole)
        assert database.statuses() == {"completed": whole}
        assert database.one("SELECT max(attempt) FROM runs") == 1
        check_histories(database)
        assert len(node.process.events_named("database_lost")) == 1
        assert len(node.process.events_named("database_back")) == 1
        assert node.end_by_signal(signal.SIGTERM) == 0
