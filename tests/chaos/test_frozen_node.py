"""A node that was frozen for longer than its lease leaves its runs to the node that took them."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos.cluster import Cluster
from tests.support.chaos.receiver import Receiver
from tests.support.histories import check_histories
from tests.support.waiting import utc_now, wait_until

RUNS = 60
DELAY_S = 0.5
CONCURRENCY = 32
"""Default concurrency of a webhook; the other runs wait in memory."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def cluster(database_url: str, tmp_path: Path, receiver: Receiver) -> Iterator[Cluster]:
    found = Cluster(None, database_url, tmp_path, 2, receiver.url)
    try:
        yield found
    finally:
        found.close()


@pytest.mark.slow
def test_runs_not_started_before_stay_not_started(
    cluster: Cluster, database_url: str, receiver: Receiver
) -> None:
    """Sixty runs claimed, thirty-two under way: awake again, the node starts none of the others."""
    frozen, other = cluster.nodes
    frozen.start()
    assert frozen.process is not None
    frozen.process.wait_for("ready")
    with CampaignDatabase(database_url) as database:
        with database.connection.transaction():
            ids = database.add_one_offs(RUNS, utc_now() + timedelta(seconds=1.5))
            database.rows(
                "UPDATE campaigns SET target = 'hook', payload = %s::jsonb WHERE id = ANY (%s)",
                f'{{"delay": {DELAY_S}}}',
                list(ids),
            )
        wait_until("the first requests", lambda: len(receiver.requests) >= CONCURRENCY)
        frozen.freeze()
        other.start()
        database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'completed'", RUNS)
        # The other node's attempts are second ones.
        begun = {request.run_id for request in receiver.requests if request.attempt == 1}
        frozen.thaw()
        frozen.process.wait_for("node_replaced")
        again = utc_now() + timedelta(seconds=0.5)
        database.add_one_offs(20, again)  # Both nodes go on.
        database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'completed'", RUNS + 20)
        check_histories(database)
    assert frozen.end_by_signal(signal.SIGTERM) == 0
    assert other.end_by_signal(signal.SIGTERM) == 0

    came = Counter(request.run_id for request in receiver.requests)
    assert len(came) == RUNS
    repeated = {run_id for run_id, times in came.items() if times > 1}
    assert repeated <= begun, "only what was under way may come twice"
