"""API keys, and the stored responses to requests with an Idempotency-Key."""

from __future__ import annotations

from alembic import op

from storage.migrate import migration_statements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two tables; the statements are frozen in ``v0002_api.sql``."""
    for statement in migration_statements("v0002_api.sql"):
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables, with every key and every stored response."""
    op.execute("DROP TABLE idempotency_keys, api_keys")
