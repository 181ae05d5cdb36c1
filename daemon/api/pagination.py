"""Where the next page begins, as opaque text: the last item's key. A wrong one is a 400."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any

from daemon.domain.errors import InvalidInput

_BIGINT = 2**63 - 1


def encode(*key: datetime | int) -> str:
    """The text for a key."""
    parts = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode("ascii").rstrip("=")


def decode(text: str | None, *kinds: type) -> Any:
    """The key of these kinds (int, datetime), None without a text. Raises InvalidInput."""
    if text is None:
        return None
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(parts, list):
            raise ValueError("no list")
        return tuple(_part(kind, part) for kind, part in zip(kinds, parts, strict=True))
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        fault = "is not one that this list has given"
        raise InvalidInput(
            400, "Invalid parameters", f"cursor {fault}", {"cursor": [fault]}
        ) from None


def _part(kind: type, part: object) -> object:
    if kind is datetime:
        at = datetime.fromisoformat(str(part))
        if at.tzinfo is None:
            raise ValueError("no offset")
        return at.astimezone(UTC)
    if type(part) is not int or abs(part) > _BIGINT:
        raise ValueError("no bigint")
    return part
