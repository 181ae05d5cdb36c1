"""The server process that executes a claim is killed, and the server ends all others."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.cluster import Cluster
from tests.support.histories import check_histories
from tests.support.postgres import private_server
from tests.support.waiting import utc_now

COUNT = 200
IN_THE_WAY = """
    INSERT INTO runs (campaign_id, scheduled_for, id, status, claimed_at, start_before)
    VALUES (%s, %s, gen_random_uuid(), 'queued', now(), now())
"""
CLAIMING = """
    SELECT max(pid) FROM pg_stat_activity
    WHERE application_name LIKE 'campaignd%%' AND %s = ANY (pg_blocking_pids(pid))
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_a_claim(tmp_path: Path) -> None:
    """Nothing of that claim is left; both nodes wait, and each occurrence runs once."""
    with private_server() as server:
        cluster = Cluster(server, server.url, tmp_path, 2, "http://127.0.0.1:9/")
        try:
            for node in cluster.nodes:
                node.start()
                assert node.process is not None
                node.process.wait_for("ready")
            with (
                CampaignDatabase(server.url) as database,
                closing(psycopg.connect(server.url)) as stranger,
            ):
                with database.connection.transaction():
                    due = utc_now()
                    ids = database.add_one_offs(COUNT, due)
                    # The claim writes others and waits for this transaction.
                    stranger.execute(IN_THE_WAY, [ids[COUNT // 2], due])
                pid = database.wait_until(CLAIMING, stranger.info.backend_pid)
                os.kill(pid, signal.SIGKILL)
                for node in cluster.nodes:
                    assert node.process is not None
                    node.process.wait_for("database_lost")
                    node.process.wait_for("database_back")
            with CampaignDatabase(server.url) as database:
                database.wait_until(
                    "SELECT count(*) = %s FROM runs WHERE status = 'completed'", COUNT
                )
                assert database.statuses() == {"completed": COUNT}
                assert database.statuses("runs") == {"completed": COUNT}
                fired = "SELECT count(*) FROM campaign_events WHERE event = 'fire'"
                assert database.one(fired) == COUNT
                check_histories(database)
            for node in cluster.nodes:
                assert node.process is not None
                assert len(node.process.events_named("database_lost")) == 1
                assert node.end_by_signal(signal.SIGTERM) == 0
        finally:
            cluster.close()
