"""Cursors of lists: the key of a page's last item, as opaque text."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.responses import JSONResponse, Response

from daemon.domain.errors import InvalidInput

_BIGINT = 2**63 - 1

T = TypeVar("T")


def page_response(
    found: Sequence[T],
    limit: int,
    item: Callable[[T], dict[str, Any]],
    key: Callable[[T], tuple[datetime | int, ...]],
) -> Response:
    """Return one page as a response.

    Args:
        found: the items of the page; one more than ``limit`` when another page follows.
        limit: maximum items of the page.
        item: returns the JSON of an item.
        key: returns the key of an item, from which the next page begins.
    """
    page = found[:limit]
    cursor = encode(*key(page[-1])) if len(found) > limit else None
    return JSONResponse({"items": [item(each) for each in page], "next_cursor": cursor})


def encode(*key: datetime | int) -> str:
    """Return the cursor for a key."""
    parts = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode("ascii").rstrip("=")


def decode(cursor: str | None, *kinds: type) -> Any:
    """Return the key in a cursor, or None without a cursor.

    Args:
        cursor: the text that the client sent.
        kinds: the type of each part of the key: int or datetime.

    Raises:
        InvalidInput: the cursor does not come from this list (400).
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(parts, list):
            raise ValueError("not a list")
        return tuple(_decode_part(kind, part) for kind, part in zip(kinds, parts, strict=True))
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        fault = "must be a next_cursor of this list"
        raise InvalidInput(
            400, "Invalid parameters", f"cursor {fault}", {"cursor": [fault]}
        ) from None


def _decode_part(kind: type, part: object) -> object:
    if kind is datetime:
        at = datetime.fromisoformat(str(part))
        if at.tzinfo is None:
            raise ValueError("no offset")
        return at.astimezone(UTC)
    if type(part) is not int or abs(part) > _BIGINT:
        raise ValueError("not a bigint")
    return part
