"""Responses for a database that does not answer contain nothing of its address."""

from __future__ import annotations

import json

import pytest

from daemon.api.errors import error_response
from daemon.domain.errors import Unavailable
from storage.errors import StorageUnavailable, TransactionAborted


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (Unavailable("too many requests at once"), "too many requests at once"),
        (StorageUnavailable("10.0.0.1 refused"), "the database cannot be reached"),
        (TransactionAborted("deadlock"), "another change of the same rows was under way"),
    ],
)
def test_the_reason_of_a_503(error: Unavailable, detail: str) -> None:
    """The client may try again at once after a conflict, and waits for the database otherwise."""
    response = error_response(error)
    assert response.status_code == 503
    assert detail in json.dumps(json.loads(bytes(response.body)))
    assert b"10.0.0.1" not in response.body
    assert "Retry-After" in response.headers
