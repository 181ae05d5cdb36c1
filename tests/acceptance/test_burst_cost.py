"""The cost of a burst in transactions and rows, which other load does not change."""

from __future__ import annotations

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.processes import Daemons
from tests.support.waiting import utc_now, wait_until

CAMPAIGNS = 3_000
ROWS = {
    # Inserted, updated and deleted rows: the campaign itself, and its one event `fire`.
    "campaign_events": (2, 0, 0),
    "campaigns": (1, 2, 0),
    "runs": (1, 1, 0),
    "schedule_definitions": (1, 0, 0),
    "timers": (1, 0, 1),
}
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


def counted(database: CampaignDatabase) -> dict[str, tuple[int, int, int, int]]:
    """Return the rows inserted, updated, deleted, and updated in place, so far."""
    rows = database.rows(
        "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del, n_tup_hot_upd FROM pg_stat_user_tables"
        " WHERE relname = ANY (%s)",
        list(ROWS),
    )
    return {row.pop("relname"): tuple(row.values()) for row in rows}


# Alone: a row version that a slow session beside it may still read takes up room on its page.
@pytest.mark.alone
@pytest.mark.measured
def test_rows_and_transactions_of_a_burst(daemons: Daemons, database: CampaignDatabase) -> None:
    """Rows are written in place but for the audit trail; hundreds of fires share a transaction."""
    daemon = daemons.start_ready(database.url)
    before, commits = counted(database), database.one(COMMITS)
    database.add_one_offs(CAMPAIGNS, utc_now())
    database.wait_until("SELECT count(*) = %s FROM campaigns WHERE status = 'completed'", CAMPAIGNS)
    assert daemon.stop() == 0

    def written() -> dict[str, tuple[int, ...]]:
        now = counted(database)
        return {
            name: tuple(new - old for new, old in zip(now[name], before[name], strict=True))
            for name in ROWS
        }

    # The server counts the work of a session when that session ends, if not before.
    wait_until("the last write is counted", lambda: written()["runs"][1] >= CAMPAIGNS)
    found = written()
    assert {name: rows[:3] for name, rows in found.items()} == {
        name: tuple(each * CAMPAIGNS for each in rows) for name, rows in ROWS.items()
    }
    for name in ("campaigns", "runs"):
        assert found[name][3] > 0.8 * found[name][1], f"{name}: updates that touch an index"
    took = database.one(COMMITS) - commits
    print(f"\n{took} transactions for {CAMPAIGNS} fires")
    # Heartbeats, polls for edits, and the statements of this test are among them.
    assert took < CAMPAIGNS / 10
