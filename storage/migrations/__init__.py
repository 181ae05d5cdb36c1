"""Alembic's environment and one module per schema version; its SQL is in the file of the same name."""
