"""The receiver of `campaignd listen` recognises a request that a secret has signed."""

from __future__ import annotations

import pytest

from daemon.cli.commands.listen import TOLERANCE_S, verdict
from daemon.targets.webhook_signature import signature

KEY, OTHER = b"k" * 24, b"o" * 24
NOW = 1_800_000_000.0
BODY = b'{"data": {}}'


def headers(**changes: str | None) -> dict[str, str]:
    signed = {
        "webhook-id": "run-1",
        "webhook-timestamp": str(int(NOW)),
        "webhook-signature": signature([OTHER, KEY], "run-1", int(NOW), BODY),
    }
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: text for name, text in (signed | changed).items() if text is not None}


def test_one_of_several_signatures_is_enough() -> None:
    assert verdict([KEY], headers(), BODY, NOW) is None


@pytest.mark.parametrize(
    ("changes", "body", "now", "fault"),
    [
        ({"webhook_signature": None}, BODY, NOW, "no signature"),
        ({"webhook_timestamp": "soon"}, BODY, NOW, "no signature"),
        ({"webhook_id": "run-2"}, BODY, NOW, "wrong signature"),
        ({}, BODY + b" ", NOW, "wrong signature"),
        ({}, BODY, NOW + TOLERANCE_S + 1, "signed too long ago, or in the future"),
    ],
)
def test_another_request_is_refused(
    changes: dict[str, str | None], body: bytes, now: float, fault: str
) -> None:
    assert verdict([KEY], headers(**changes), body, now) == fault
