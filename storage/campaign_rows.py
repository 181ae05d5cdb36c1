"""Rows of ``campaigns`` as values, and the conditions that find them.

Apart from `storage.campaigns`, because a command that lists campaigns loads nothing that changes
them.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import NotFound
from daemon.domain.schedule.schedule import CampaignType
from storage.tables import campaigns


def campaign_from(row: Any) -> Campaign:
    """Return the Campaign that a row of ``campaigns`` holds."""
    return Campaign(
        id=row.id,
        uuid=row.uuid,
        name=row.name,
        type=CampaignType(row.type),
        status=Status(row.status),
        timezone=row.timezone,
        target=row.target,
        payload=row.payload,
        open_runs=row.open_runs,
        held_runs=row.held_runs,
        queued_runs=row.queued_runs,
        more_to_come=row.more_to_come,
        has_due=row.has_due,
        has_completed=row.has_completed,
        archived_from=Status(row.archived_from) if row.archived_from else None,
        paused_until=row.paused_until,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def ref_condition(ref: int | UUID) -> sa.ColumnElement[bool]:
    """Return the condition that selects a campaign by id or by uuid."""
    return campaigns.c.uuid == ref if isinstance(ref, UUID) else campaigns.c.id == ref


def campaign_not_found(ref: int | UUID) -> NotFound:
    """Return the error for a campaign that does not exist."""
    return NotFound(f"no campaign has the {'uuid' if isinstance(ref, UUID) else 'id'} {ref}")
