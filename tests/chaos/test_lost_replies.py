"""A statement that the database executed although its reply was lost is found, and done once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.cluster import ChaosNode, Cluster
from tests.support.chaos.proxy import OPEN
from tests.support.histories import check_histories
from tests.support.waiting import utc_now


@pytest.fixture
def database(database_url: str) -> Iterator[CampaignDatabase]:
    with CampaignDatabase(database_url) as found:
        yield found


@pytest.fixture
def node(database_url: str, tmp_path: Path) -> Iterator[ChaosNode]:
    """One daemon behind a network that can be broken."""
    cluster = Cluster(
        None,
        database_url,
        tmp_path,
        1,
        "http://127.0.0.1:9/",
        # With this setting statements are sent as text, not by the name of a prepared one.
        settings={"listen_database_url": database_url},
    )
    try:
        yield cluster.nodes[0]
    finally:
        cluster.close()


def test_a_claim_whose_answer_was_lost(node: ChaosNode, database: CampaignDatabase) -> None:
    """A claim is committed, but its reply is lost: its runs are started, as attempt 1."""
    node.start()
    assert node.process is not None
    node.process.wait_for("ready")
    node.proxy.deafen_at(b"INSERT INTO runs")
    database.add_one_offs(50, utc_now() + timedelta(seconds=1))
    database.wait_until("SELECT count(*) > 0 FROM runs WHERE status = 'executing'")
    node.proxy.set_mode(OPEN)

    database.wait_until("SELECT count(*) = 50 FROM runs WHERE status = 'completed'")
    assert database.rows("SELECT DISTINCT attempt, takeovers FROM runs") == [
        {"attempt": 1, "takeovers": 0}
    ]
    check_histories(database)
    assert node.end_by_signal(signal.SIGTERM) == 0
