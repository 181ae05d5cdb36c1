"""Renders log lines of any values: as strict JSON, or as columns for a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, cast

import orjson
from structlog.dev import Column, ConsoleRenderer
from structlog.processors import JSONRenderer
from structlog.typing import EventDict

Renderer = Callable[[Any, str, EventDict], str]
"""The last processor of structlog: returns the line of an event."""
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_EVENT_WIDTH = 28
_MAX_NESTING = 20


def _to_json(event_dict: EventDict, default: Callable[[Any], Any]) -> str:
    try:
        line = orjson.dumps(event_dict, default, orjson.OPT_PASSTHROUGH_DATETIME).decode()
        if line.isascii():
            return line
        # Some readers take characters such as U+2028 for the end of a line: escape them.
        return _encode(event_dict)
    except (TypeError, ValueError, RecursionError):
        # A key that is no text, a lone surrogate, a number out of range, a circular reference.
        return _encode(_json_tree(event_dict))


def _json_value(value: Any) -> str:
    # Most instants in a burst are equal, but equal instants of other zones differ as text.
    return (
        _cached_instant_text(value, value.tzinfo)
        if type(value) is datetime
        else _text_of_value(value)
    )


@lru_cache(maxsize=64)
def _cached_instant_text(value: datetime, _zone: tzinfo | None) -> str:
    return _text_of_value(value)


json_renderer = cast(Renderer, JSONRenderer(_to_json, default=_json_value))
"""Renders strict JSON in ASCII."""
_encode = json.JSONEncoder(
    allow_nan=False, separators=(",", ":"), default=lambda value: _text_of_value(value)
).encode


def _json_tree(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict) and depth < _MAX_NESTING:
        return {str(key): _json_tree(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _MAX_NESTING:
        return [_json_tree(inner, depth + 1) for inner in value]
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, float) and value - value == 0:  # neither infinite nor NaN
        return value
    return _text_of_value(value)


def _text_of_value(value: Any) -> str:
    """Return the text of a value that JSON has no form for."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict | list | tuple | set | frozenset):
        return "…"  # nested too deep
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def console_renderer(*, colour: bool) -> Renderer:
    """Return a renderer of columns.

    All columns are formatted here, because structlog's formatters write control characters in
    keys, events and values as they are, and a terminal would obey them.
    """

    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    columns = ConsoleRenderer(
        columns=[
            Column("timestamp", lambda _, value: f"{value[:10]} {value[11:23]}Z"),
            Column("level", lambda _, value: paint(_COLOURS[value], f"{value:<8}")),
            Column("event", lambda _, value: paint("1", f"{_column_text(value):<{_EVENT_WIDTH}}")),
            Column(
                "", lambda key, value: f"{paint('36', _column_text(key))}={_column_text(value)}"
            ),
        ],
        sort_keys=False,
    )

    def render(logger: Any, method: str, event_dict: EventDict) -> str:
        if "exception" in event_dict:
            below = str(event_dict["exception"]).splitlines()
            event_dict["exception"] = "\n".join(
                f"    {_escape_control_characters(text)}" for text in below
            )
        return columns(logger, method, event_dict)

    return render


def _column_text(value: Any) -> str:
    """Return a value for a column: bare if that is clear, else quoted and escaped."""
    if not isinstance(value, str):
        return _escape_control_characters(
            repr(value) if isinstance(value, dict | list | tuple) else _text_of_value(value)
        )
    if value and value.isprintable() and not any(sign in value for sign in " =\"'"):
        return value
    return _escape_control_characters(json.dumps(value, ensure_ascii=False))


def _escape_control_characters(text: str) -> str:
    """Escape control characters."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )
