"""Alembic's environment, and one module with one SQL file for each schema version."""
