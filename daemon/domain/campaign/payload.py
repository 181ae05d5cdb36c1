"""A campaign's payload, and its size as it is stored and delivered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from daemon.domain.requests.fields import Faults, read_object

PAYLOAD_LIMIT = 64 * 1024
"""Maximum bytes of a payload as JSON text, with every number written out."""


def read_payload(faults: Faults, path: str, value: object) -> dict[str, Any] | None:
    """Read a JSON object of at most PAYLOAD_LIMIT bytes."""
    payload = read_object(faults, path, value)
    if payload is not None:
        size = payload_size(payload)
        if size > PAYLOAD_LIMIT:
            text = f"has {size} bytes as JSON, must have at most {PAYLOAD_LIMIT}"
            faults.add_unsupported(path, text)
    return payload


def payload_size(payload: dict[str, Any]) -> int:
    """Return the bytes of a payload as PostgreSQL writes a ``jsonb``.

    PostgreSQL writes numbers without an exponent: 1e308 has 309 digits.
    """
    text = json.dumps(payload, ensure_ascii=False)
    size = len(text.encode())
    if "e-" in text or "e+" in text:
        size += sum(_digits_instead_of_exponent(number) for number in _numbers_in(payload))
    return size


def _digits_instead_of_exponent(number: float) -> int:
    written = repr(number)
    return len(format(Decimal(written), "f")) - len(written) if "e" in written else 0


def _numbers_in(payload: dict[str, Any]) -> Iterator[float]:
    left: list[Any] = [payload]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, float):
            yield value
