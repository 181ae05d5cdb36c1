"""A database that is read-only for a while counts as unavailable, not as a bug."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from daemon.campaign_service import CampaignService
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import Unavailable
from daemon.domain.schedule.schedule import CampaignType
from storage.campaigns import Campaigns
from storage.engine import Database


async def test_edits_of_a_read_only_database(superuser_url: str) -> None:
    """As on a standby before its promotion: every edit reports that it can be retried."""
    given = Database(superuser_url)
    protected = Database(superuser_url)
    draft = Campaign(0, uuid4(), "a campaign", CampaignType.ONE_TIME, Status.DRAFT)
    try:
        made = await CampaignService(Campaigns(given)).create(draft, "test")
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(
                f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode()
            )
        control = CampaignService(Campaigns(protected))
        for asked in (
            control.create(draft, "test"),
            control.start(made.id, "test"),
            control.clear_schedule(made.uuid, "test"),
        ):
            with pytest.raises(Unavailable, match="read-only transaction"):
                await asked
    finally:
        await given.close()
        await protected.close()
