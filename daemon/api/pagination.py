"""Cursors of lists: the key of a page's last item, as opaque text."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.responses import Response

from daemon.domain.errors import InvalidInput
from daemon.domain.listing import Counted

PAGE_BYTES = 1024 * 1024
"""Bytes of items after which a page ends before its limit."""
_BIGINT = 2**63 - 1
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

T = TypeVar("T")


def page_response(
    found: Sequence[T],
    limit: int,
    item: Callable[[T], dict[str, Any]],
    key: Callable[[T], tuple[datetime | int, ...]],
    counted: Counted | None = None,
    following: tuple[datetime | int, ...] | None = None,
) -> Response:
    """Return one page as a response; it ends early when its items have many bytes.

    Args:
        found: the items of the page; one more than ``limit`` when another page follows.
        limit: maximum items of the page.
        item: returns the JSON of an item.
        key: returns the key of an item, from which the next page begins.
        counted: the number of items of all pages.
        following: the key from which the next page begins, where ``found`` does not tell.
    """
    items: list[bytes] = []
    size = 0
    for each in found[:limit]:
        text = _to_json(item(each)).encode()
        size += len(text)
        if items and size > PAGE_BYTES:
            break
        items.append(text)
    more = len(found) > len(items)
    if more:
        following = key(found[len(items) - 1])
    ending: dict[str, Any] = {"next_cursor": following and encode_cursor(*following)}
    if counted is not None:
        ending |= {"count": counted.count, "more": counted.more}
    content = b'{"items":[%b],%b' % (b",".join(items), _to_json(ending)[1:].encode())
    return Response(content, media_type="application/json")


def whole_list_response(items: Sequence[dict[str, Any]]) -> Response:
    """Return a list that has only one page."""
    return page_response(items, len(items), lambda item: item, lambda _: (), Counted(len(items)))


def encode_cursor(*key: datetime | int) -> str:
    """Return the cursor for a key."""
    parts = [part.isoformat() if isinstance(part, datetime) else part for part in key]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode("ascii").rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type) -> Any:
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
        return tuple(_decode_key_part(kind, part) for kind, part in zip(kinds, parts, strict=True))
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        fault = "must be a next_cursor of this list"
        raise InvalidInput(
            400, "Invalid parameters", f"cursor {fault}", {"cursor": [fault]}
        ) from None


def _decode_key_part(kind: type, part: object) -> object:
    if kind is datetime:
        at = datetime.fromisoformat(str(part))
        if at.tzinfo is None:
            raise ValueError("no offset")
        return at.astimezone(UTC)
    if type(part) is not int or abs(part) > _BIGINT:
        raise ValueError("not a bigint")
    return part
