"""Alembic's environment and one module per schema version; the SQL stands beside each."""
