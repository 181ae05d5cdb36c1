"""Campaigns, schedules, timers, runs, events and nodes."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything; the statements are frozen in ``v0001_initial.sql``."""
    for statement in migration_statements("v0001_initial.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop everything, with all data."""
    op.execute("DROP VIEW armed_timers, schedules")
    op.execute("DROP TABLE nodes, campaign_events, runs, timers, schedule_definitions, campaigns")
    op.execute("DROP SEQUENCE schedule_revision_seq")
