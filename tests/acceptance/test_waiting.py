"""Many runs of one target wait for their turn; those of the other targets do not."""

from __future__ import annotations

from uuid import uuid4

from tests.support.campaign_database import CampaignDatabase
from tests.support.configured_targets import write_configuration
from tests.support.processes import Daemons

MANY = 40_000
_WAIT = (
    "UPDATE campaigns SET status = 'executing', open_runs = 1, more_to_come = false,"
    " has_due = true, target = 'slow'",
    "DELETE FROM timers",
    "INSERT INTO runs (campaign_id, scheduled_for, id, status, claimed_at, next_attempt_at,"
    " start_before) SELECT id, created_at, gen_random_uuid(), 'queued', now(), now(),"
    " now() + interval '1 day'"
    " FROM campaigns",
)


def test_started_at_once_though_thousands_wait_for_another_target(
    daemons: Daemons, database: CampaignDatabase
) -> None:
    """More than one poll reads, and more than is claimed ahead for a slow target."""
    slow = {"type": "command", "argv": ["/bin/sleep", "60"], "concurrency": 1, "timeout": 90}
    config = write_configuration(daemons, slow=slow)
    with database.connection.transaction():
        database.add_one_offs(MANY, database.one("SELECT now()"))
        for statement in _WAIT:
            database.rows(statement)
    daemon = daemons.start_ready(database.url, CAMPAIGND_CONFIG=config, scheduler__drain_timeout=1)
    database.wait_until("SELECT count(*) > 0 FROM runs WHERE status = 'executing'")
    uuid = uuid4()
    database.import_campaigns(
        [{"campaign": {"uuid": str(uuid), "name": "other", "status": "draft"}}]
    )
    database.run_command(lambda control: control.start(uuid, "operator"))
    database.wait_until("SELECT status = 'completed' FROM campaigns WHERE uuid = %s", uuid)
    assert database.one("SELECT count(*) FROM runs WHERE status = 'queued'") > 5000
    assert daemon.stop() == 0
