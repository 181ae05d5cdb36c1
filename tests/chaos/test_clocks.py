"""Nodes whose clocks are wrong, or are set while they run: the database's clock decides."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.cluster import Cluster
from tests.support.chaos.proxy import OPEN
from tests.support.histories import check_histories
from tests.support.waiting import utc_now, wait_until

EACH = 40
PROMPT = timedelta(seconds=1.5)
"""A heartbeat (1 s) measures the new difference; from then on everything is on time."""


@pytest.fixture
def cluster(database_url: str, tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(None, database_url, tmp_path, 2, "http://127.0.0.1:9/")
    try:
        yield found
    finally:
        found.close()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("offsets", [(5.0, -5.0), (300.0, -300.0)])
def test_wrong_clocks(cluster: Cluster, database_url: str, offsets: tuple[float, float]) -> None:
    """Ahead and behind, then swapped while the nodes run: nothing is early, late or missed."""
    for node, offset in zip(cluster.nodes, offsets, strict=True):
        node.clock.set_offset(offset)
        node.start()
    for node in cluster.nodes:
        assert node.process is not None
        node.process.wait_for("ready")
        node.process.wait_for("shards_reassigned", nodes=2)
    with CampaignDatabase(database_url) as database:
        begins = utc_now() + timedelta(seconds=1)
        for number in range(8):
            at = begins + timedelta(seconds=0.5 * number)
            database.add_one_offs(EACH, at, grace=3)
        wait_until("the middle", lambda: utc_now() > begins + timedelta(seconds=1.2))
        for node, offset in zip(cluster.nodes, reversed(offsets), strict=True):
            node.clock.set_offset(offset)
        database.wait_until(
            "SELECT count(*) = %s FROM runs WHERE finished_at IS NOT NULL", 8 * EACH
        )

        assert database.statuses("runs") == {"completed": 8 * EACH}
        worst = database.rows(
            "SELECT min(started_at - scheduled_for) AS first,"
            " max(started_at - scheduled_for) AS last FROM runs"
        )
        assert timedelta(0) <= worst[0]["first"]
        assert worst[0]["last"] < PROMPT
        check_histories(database)
        skews = "SELECT array_agg(round(skew_ms / 1000.0)::float ORDER BY name) = %s FROM nodes"
        database.wait_until(skews, [-offset for offset in reversed(offsets)])
    for node in cluster.nodes:
        assert node.process is not None
        assert node.process.events_named("clock_skew")
        assert node.end_by_signal(signal.SIGTERM) == 0


def test_a_clock_that_is_set_right_during_the_start(cluster: Cluster, database_url: str) -> None:
    """As at boot: ahead at the start, right by the first heartbeat. No run is missed."""
    node = cluster.nodes[0]
    node.clock.set_offset(300.0)
    node.proxy.deafen_at(b"INSERT INTO nodes")
    node.start()
    assert node.process is not None
    with CampaignDatabase(database_url) as database:
        database.wait_until("SELECT count(*) > 0 FROM nodes")
        node.clock.set_offset(0.0)
        node.proxy.set_mode(OPEN)
        node.process.wait_for("ready")
        at = utc_now() + timedelta(seconds=1)
        database.add_one_offs(EACH, at, grace=60)
        database.wait_until("SELECT count(*) = %s FROM runs WHERE finished_at IS NOT NULL", EACH)
        assert database.statuses("runs") == {"completed": EACH}
    assert node.end_by_signal(signal.SIGTERM) == 0


@pytest.mark.slow
@pytest.mark.alone
def test_a_machine_whose_clocks_stood_still(cluster: Cluster, database_url: str) -> None:
    """Suspended for an hour: its wall clock is right again, its monotonic clock missed the hour."""
    node = cluster.nodes[0]
    node.start()
    assert node.process is not None
    node.process.wait_for("ready")
    with CampaignDatabase(database_url) as database:
        beats = "SELECT max(heartbeat_at) > %s FROM nodes"
        database.wait_until(beats, utc_now())
        node.clock.stop_monotonic_clock(3600.0)
        database.wait_until(beats, utc_now() + timedelta(seconds=1))
        at = utc_now() + timedelta(seconds=1)
        database.add_one_offs(EACH, at)
        database.wait_until("SELECT count(*) = %s FROM runs WHERE finished_at IS NOT NULL", EACH)
        assert database.one("SELECT max(started_at) FROM runs") - at < PROMPT
        assert database.statuses("runs") == {"completed": EACH}
    assert node.end_by_signal(signal.SIGTERM) == 0
