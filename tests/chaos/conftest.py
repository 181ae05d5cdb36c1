"""Fixtures of the chaos tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def database_url(superuser_url: str) -> str:
    """URL of a migrated database for this test only, as superuser: faults are made by triggers."""
    return superuser_url
