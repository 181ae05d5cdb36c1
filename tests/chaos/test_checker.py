"""The checker finds planted errors: otherwise its silence would prove nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.chaos import checker, workload
from tests.support.chaos.checker import Findings
from tests.support.chaos.cluster import Cluster
from tests.support.chaos.editor import Edit, create_drafts, save_schedules
from tests.support.chaos.receiver import Receiver, Request, recorded_requests
from tests.support.chaos.retention import PruneRunner
from tests.support.chaos.workload import PlannedCampaign
from tests.support.waiting import utc_now

pytestmark = [pytest.mark.alone, pytest.mark.slow]

LENGTH_S = 6.0


@dataclass
class Done:
    """The rows and deliveries of a few seconds without a fault."""

    database: CampaignDatabase
    campaigns: list[PlannedCampaign]
    requests: list[Request]
    retention: PruneRunner

    def check(self, edits: Sequence[Edit] = (), requests: list[Request] | None = None) -> Findings:
        given = self.requests if requests is None else requests
        return checker.check_episode(self.database, self.campaigns, edits, given, [])


@pytest.fixture(scope="module")
def done(new_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    receiver = Receiver()
    directory: Path = tmp_path_factory.mktemp("checker")
    cluster = Cluster(None, new_database, directory, 1, receiver.url)
    try:
        (node,) = cluster.nodes
        node.start()
        assert node.process is not None
        node.process.wait_for("ready")
        made_at = time.monotonic()
        asyncio.run(
            create_drafts(new_database, workload.draw_campaigns(1, utc_now(), LENGTH_S, 0.5))
        )
        ahead = 2 + 4 * (time.monotonic() - made_at)
        campaigns = workload.draw_campaigns(1, utc_now() + timedelta(seconds=ahead), LENGTH_S, 0.5)
        asyncio.run(save_schedules(new_database, campaigns))
        last = max(
            each.oracle.at for each in campaigns if isinstance(each.oracle, workload.OnceOracle)
        )
        with CampaignDatabase(new_database) as database:
            database.wait_until("SELECT clock_timestamp() > %s", last + timedelta(seconds=1))
            database.wait_until(checker.QUIET)
            yield Done(
                database,
                campaigns,
                receiver.requests + recorded_requests(cluster.command_log),
                cluster.retention,
            )
    finally:
        cluster.close()
        receiver.close()


@pytest.fixture(scope="module")
def new_database(postgres_server: str, template_database: str) -> Iterator[str]:
    from tests.support.postgres import fresh_database

    with fresh_database(postgres_server, template_database) as (_, url):
        yield url


def test_nothing_is_wrong(done: Done) -> None:
    """Without a planted error."""
    found = done.check()
    assert found.is_good, found.problems()
    assert found.occurrences > 100
    assert found.judged_for_lateness > 50
    assert checker.stuck_rows(done.database) == []
    assert any(request.attempt > 1 for request in done.requests)


A_RUN = (
    "(SELECT id FROM runs WHERE status = 'completed' AND cause = 'schedule' ORDER BY id LIMIT 1)"
)
AGAIN = """
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT campaign_id, at, event, from_status, to_status, cause, actor, run_id, scheduled_for
    FROM campaign_events WHERE event = '{event}' AND run_id = {run}
"""
PLANTED = {
    "lost": [f"DELETE FROM runs WHERE id = {A_RUN}"],
    "unexpected": [
        f"UPDATE runs SET scheduled_for = scheduled_for - interval '333 ms' WHERE id = {A_RUN}"
    ],
    "doubled": [AGAIN.format(event="fire", run=A_RUN)],
    "wrong": [
        AGAIN.format(event="run_ended", run=A_RUN),
        f"UPDATE runs SET started_at = scheduled_for - interval '1 ms' WHERE id = {A_RUN}",
        "UPDATE runs SET claimed_at = scheduled_for + interval '3 s'"
        " WHERE status = 'completed' AND cause = 'schedule'",
        f"UPDATE runs SET attempt = 4 WHERE id = {A_RUN}",
        f"DELETE FROM campaign_events WHERE event = 'run_ended' AND run_id = {A_RUN}",
        "UPDATE timers SET revision = revision + 1000000",
        "UPDATE campaigns SET status = 'failed' WHERE status = 'completed' AND has_completed",
    ],
}


@pytest.mark.parametrize(
    ("kind", "statement"),
    [(kind, statement) for kind, statements in PLANTED.items() for statement in statements],
)
def test_errors_planted_in_the_rows(done: Done, kind: str, statement: str) -> None:
    """Each error is in its own list."""
    with done.database.connection.transaction(force_rollback=True):
        changed = done.database.connection.execute(statement.encode()).rowcount
        assert changed >= 1
        found = done.check()
    assert getattr(found, kind), found.problems()


def twice(requests: list[Request]) -> list[Request]:
    """One attempt arrived again."""
    return [*requests, requests[0]]


def early(requests: list[Request]) -> list[Request]:
    """One attempt arrived before its instant."""
    return [replace(requests[0], at=datetime(2020, 1, 1, tzinfo=UTC)), *requests[1:]]


def unheard_of(requests: list[Request]) -> list[Request]:
    """One attempt more than the run has."""
    return [*requests, replace(requests[0], attempt=9)]


def never(requests: list[Request]) -> list[Request]:
    """Nothing of one completed run arrived."""
    return [each for each in requests if each.run_id != requests[0].run_id]


@pytest.mark.parametrize("change", [twice, early, unheard_of, never])
def test_errors_planted_in_the_log_of_the_receiver(
    done: Done, change: Callable[[list[Request]], list[Request]]
) -> None:
    """The receiver's log and the rows disagree."""
    assert not done.check(requests=change(done.requests)).is_good


def test_answers_that_are_untrue(done: Done) -> None:
    """An edit is done without a trace, refused with one, or answered by a bug of the daemon."""
    made = done.campaigns[0]
    for outcome, actor in (("done", "unknown"), ("refused", "maker"), ("broken", "unknown")):
        edit = Edit(0, made, "save", actor, outcome=outcome)
        assert done.check([edit]).wrong


def test_a_run_that_is_still_open(done: Done) -> None:
    """No node will end this run."""
    left_open = (
        "UPDATE runs SET status = 'executing', finished_at = NULL, node = 'unknown'"
        f" WHERE id = {A_RUN}"
    )
    with done.database.connection.transaction(force_rollback=True):
        assert done.database.connection.execute(left_open.encode()).rowcount == 1
        assert len(checker.stuck_rows(done.database)) == 1
        assert not done.database.one(checker.QUIET)


def test_a_run_made_again_after_it_was_pruned(done: Done) -> None:
    """Deleted rows exist again: two rows for one occurrence."""
    copy = f"CREATE TEMP TABLE kept AS SELECT * FROM runs WHERE id = {A_RUN}"
    columns = done.database.one(
        "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attnum > 0"
        " AND attrelid = 'runs'::regclass AND NOT attisdropped AND attgenerated = ''"
    )
    with done.database.connection.transaction(force_rollback=True):
        for statement in (
            copy,
            "DELETE FROM runs WHERE id IN (SELECT id FROM kept)",
            f"INSERT INTO runs ({columns}) SELECT {columns} FROM kept",
        ):
            done.database.connection.execute(statement.encode())
        pruned, doubled = done.retention.restore_pruned_rows(done.database)
    assert (pruned, len(doubled)) == (1, 1)
