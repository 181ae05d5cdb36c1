"""The shards of nodes: shown by `campaignd status`, and handed over by a node that stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.cluster import Cluster
from tests.support.histories import check_histories
from tests.support.processes import CAMPAIGND
from tests.support.waiting import utc_now, wait_until

SHARDS = 64
COUNT = 200
HORIZON_S = 3
IN_TIME = timedelta(seconds=1)
"""A node checks for unclaimed events of other nodes no sooner than this."""
SHARED = (
    "SELECT count(*) = %s AND sum(shards) = 64 AND min(shards) > 0 FROM nodes"
    " WHERE lease_until > clock_timestamp()"
)


@pytest.fixture
def cluster(database_url: str, tmp_path: Path) -> Iterator[Cluster]:
    settings = {"scheduler__horizon": HORIZON_S}
    found = Cluster(None, database_url, tmp_path, 2, "http://127.0.0.1:9/", settings=settings)
    try:
        yield found
    finally:
        found.close()


def status(url: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the nodes of `campaignd status` by name, and its summary."""
    done = subprocess.run(
        [CAMPAIGND, "status", "--json"],
        env={**os.environ, "CAMPAIGND_DATABASE_URL": url},
        capture_output=True,
        check=True,
        timeout=90,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    nodes = {line["name"]: line for line in lines if line["kind"] == "node"}
    (summary,) = [line for line in lines if line["kind"] == "summary"]
    return nodes, summary


@pytest.mark.slow
def test_status_lists_every_node(cluster: Cluster, database_url: str) -> None:
    """The status shows shards, clock skew, live nodes, and how far the cluster is behind."""
    for node, offset in zip(cluster.nodes, (5.0, -300.0), strict=True):
        node.clock.set_offset(offset)
        node.start()
    with CampaignDatabase(database_url) as database:
        database.wait_until(SHARED, 2)
        database.wait_until("SELECT bool_and(abs(skew_ms) > 1000) FROM nodes")
        nodes, summary = status(database_url)
        assert set(nodes) == {"node1", "node2"}
        assert sum(node["shards"] for node in nodes.values()) == SHARDS
        assert {name: round(node["skew_ms"] / 1000) for name, node in nodes.items()} == {
            "node1": -5,
            "node2": 300,
        }
        assert all(node["live"] and 0 < node["lease_left"] <= 5 for node in nodes.values())
        assert (summary["overdue"], summary["lag"]) == (0, 0)

        cluster.nodes[1].end_by_signal(signal.SIGKILL)
        database.wait_until(SHARED, 1)
        nodes, _ = status(database_url)
        assert nodes["node1"]["shards"] == SHARDS
        assert "node2" not in nodes or not nodes["node2"]["live"]

        cluster.nodes[0].end_by_signal(signal.SIGKILL)
        due = utc_now()
        database.add_one_offs(COUNT, due)
        database.wait_until("SELECT bool_and(lease_until < clock_timestamp()) FROM nodes")
        nodes, summary = status(database_url)
        assert not any(node["live"] for node in nodes.values())
        assert summary["overdue"] == COUNT
        assert 0 < summary["lag"] <= (utc_now() - due).total_seconds()


@pytest.mark.alone
@pytest.mark.slow
def test_a_node_that_stops_hands_over(cluster: Cluster, database_url: str) -> None:
    """Events that only the stopping node had loaded start on time on the other node."""
    stopped, other = cluster.nodes
    for node in cluster.nodes:
        node.start()
    with CampaignDatabase(database_url) as database:
        database.wait_until(SHARED, 2)
        due = utc_now() + timedelta(seconds=2 * HORIZON_S)
        database.add_one_offs(COUNT, due)
        wait_until("both have loaded theirs", lambda: utc_now() > due - timedelta(seconds=1.5))
        assert stopped.end_by_signal(signal.SIGTERM) == 0
        assert utc_now() < due
        database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'completed'", COUNT)
        assert database.one("SELECT max(started_at - scheduled_for) FROM runs") < IN_TIME
        assert database.one("SELECT bool_and(node LIKE 'node2%%') FROM runs WHERE node IS NOT NULL")
        assert database.one(
            "SELECT count(*) = %s FROM campaign_events"
            " WHERE event = 'fire' AND actor LIKE 'node2%%'",
            COUNT,
        )
        check_histories(database)
    assert other.end_by_signal(signal.SIGTERM) == 0
