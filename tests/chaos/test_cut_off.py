"""A node in its own network namespace is cut off silently: others go on, and it does no harm."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos import namespaces
from tests.support.chaos.cluster import ChaosNode, Cluster
from tests.support.chaos.receiver import Receiver
from tests.support.histories import check_histories
from tests.support.waiting import utc_now, wait_until

pytestmark = [pytest.mark.machine, pytest.mark.slow]

QUICK = 5
RUNS = 60
CONCURRENCY = 32
"""Default concurrency of a webhook; the other runs wait in memory."""
LEASE_S = 5.0
DELAY_S = 6.0
"""Longer than the lease, which has expired when a worker is free for the other runs."""
TAKEN = "SELECT min(at) FROM campaign_events WHERE event = 'run_retrying' AND cause LIKE 'taken%%'"


@pytest.fixture
def switch() -> Iterator[namespaces.Switch]:
    if (reason := namespaces.why_no_namespaces()) is not None:
        pytest.skip(reason)
    with namespaces.network_switch(2) as found:
        yield found


@pytest.fixture
def receiver(switch: namespaces.Switch) -> Iterator[Receiver]:
    found = Receiver(switch.address)
    yield found
    found.close()


@pytest.fixture
def cluster(
    database_url: str, tmp_path: Path, receiver: Receiver, switch: namespaces.Switch
) -> Iterator[Cluster]:
    found = Cluster(None, database_url, tmp_path, 2, receiver.url, switch)
    try:
        yield found
    finally:
        found.close()


def unplugged(node: ChaosNode) -> None:
    """Cut the node off from the database and from the receiver."""
    assert node.cable is not None
    node.cable.pull()


def dropped(node: ChaosNode) -> None:
    """Cut the node off from the database alone: its deliveries still arrive."""
    assert node.cable is not None
    node.cable.drop_packets([node.proxy.port])


def answers_dropped(node: ChaosNode) -> None:
    """Deliver the node's statements to the database, and drop the replies."""
    assert node.cable is not None
    node.cable.drop_packets([node.proxy.port], answers_only=True)


def _store(database: CampaignDatabase, count: int, delay: float) -> None:
    """Store ``count`` webhooks that are due soon, each answered after ``delay`` seconds."""
    with database.connection.transaction():
        ids = database.add_one_offs(count, utc_now() + timedelta(seconds=1.5))
        database.rows(
            "UPDATE campaigns SET target = 'hook', payload = %s::jsonb WHERE id = ANY (%s)",
            f'{{"delay": {delay}}}',
            list(ids),
        )


@pytest.mark.parametrize("cut", [unplugged, dropped, answers_dropped])
def test_a_node_that_is_cut_off(
    cluster: Cluster, database_url: str, receiver: Receiver, cut: Callable[[ChaosNode], None]
) -> None:
    """The other node takes over the runs once the lease expires, and not before."""
    isolated, other = cluster.nodes
    isolated.start()
    assert isolated.process is not None
    isolated.process.wait_for("ready", 60)
    with CampaignDatabase(database_url) as database:
        # The node claims more runs for a quick target than it has under way.
        _store(database, QUICK, 0)
        done = "SELECT count(*) = %s FROM runs WHERE status = 'completed'"
        database.wait_until(done, QUICK)
        receiver.requests.clear()
        _store(database, RUNS, DELAY_S)
        wait_until("the first requests", lambda: len(receiver.requests) >= CONCURRENCY)
        database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'executing'", RUNS)
        cut_at = utc_now()
        cut(isolated)
        other.start()
        assert other.process is not None
        other.process.wait_for("node_lost", 60)
        taken_at = database.one(TAKEN)
        assert taken_at - cut_at < timedelta(seconds=LEASE_S + 3)
        # Only the other node can claim what falls due meanwhile.
        database.add_one_offs(RUNS, utc_now() + timedelta(seconds=0.5))
        database.wait_until(done, QUICK + 2 * RUNS, within=60)

        assert isolated.cable is not None
        isolated.cable.repair()
        isolated.process.wait_for("node_replaced", 40)
        isolated.process.wait_for("database_back", 40)
        wait_until(
            "both share",
            lambda: database.one(
                "SELECT count(*) = 2 AND sum(shards) = 64 AND min(shards) > 0 FROM nodes"
            ),
        )
        database.add_one_offs(RUNS, utc_now() + timedelta(seconds=0.5))
        database.wait_until(done, QUICK + 3 * RUNS)
        assert database.statuses("runs") == {"completed": QUICK + 3 * RUNS}
        assert database.statuses() == {"completed": QUICK + 3 * RUNS}
        check_histories(database)
        began = database.rows("SELECT run_id, count(*) AS times FROM campaign_events"
                           " WHERE event = 'run_ended' GROUP BY run_id")  # fmt: skip
        assert {row["times"] for row in began} == {1}
        early = database.rows(
            "SELECT run_id FROM campaign_events WHERE event = 'run_ended' AND at BETWEEN %s AND %s",
            cut_at,
            taken_at,
        )
    for node in (isolated, other):
        assert node.end_by_signal(signal.SIGTERM) == 0

    first = [request for request in receiver.requests if request.attempt == 1]
    again = [request for request in receiver.requests if request.attempt > 1]
    assert len({(request.run_id, request.attempt) for request in receiver.requests}) == len(
        receiver.requests
    ), "no attempt twice"
    assert max(request.at for request in first) < taken_at, "begun although its lease had ended"
    assert min(request.at for request in again) > taken_at
    # Where only answers are lost, an outcome on its way is written, and its run is not repeated.
    written = {row["run_id"] for row in early}
    assert not written or cut is answers_dropped
    assert {request.run_id for request in again} == {
        request.run_id for request in receiver.requests if request.run_id not in written
    }, "every run in flight was taken over"
