"""Log lines: JSON for programs, columns for people, one line an event, on standard error.

Nothing here raises into the caller: a value that can not be written becomes its repr, a standard
error that is gone or full loses lines. Nothing in a value can forge or break a line.

Keys come in the order `timestamp` (UTC, microseconds), `level`, `event`, `node`, the event's own.
Lines of libraries come as the event `library_message` with `logger` and `message`.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, Literal, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_NAMES = {number: name for name, number in LEVELS.items()}

_SYSLOG = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}
"""How a line that the journal reads says its priority (sd-daemon(3))."""
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_FULL_WAIT_S = 0.1
_LONGEST_NESTING = 20
_GATHERED_AT_MOST = 256

_encode = json.JSONEncoder(
    allow_nan=False, separators=(",", ":"), default=lambda value: _plain(value)
).encode


@dataclass
class _Output:
    """Where lines go and how they look; replaced as a whole, so loggers may be kept for ever."""

    threshold: int
    render: Callable[[str, str, str, Mapping[str, Any]], str]
    node: str
    descriptor: int
    to_journal: bool = False


def configure(
    level: str = "info",
    format: Literal["auto", "json", "console"] = "auto",
    node: str = "",
    *,
    descriptor: int = 2,
    journal_stream: str | None = None,
) -> None:
    """Send the log of this process to standard error; call it again to change it.

    Args:
        level: the least important that is written, a key of `LEVELS`.
        format: `auto` is columns on a terminal and JSON elsewhere.
        node: the value of that key; without one there is no such key.
        descriptor: of the file written to.
        journal_stream: device and inode of the journal's socket, as systemd names it; lines that
            go there begin with their priority.
    """
    global _output
    columns = format == "console" or (format == "auto" and os.isatty(descriptor))
    render = _columns(colour=os.isatty(descriptor)) if columns else _json_line
    to_journal = _is_stream(descriptor, journal_stream)
    _output = _Output(LEVELS[level], render, node, descriptor, to_journal)
    structlog.configure(
        processors=[_to_line],
        wrapper_class=_Logger,
        logger_factory=lambda *_: _WRITER,
        cache_logger_on_first_use=True,
    )
    # Of libraries, what somebody should look into.
    root = logging.getLogger()
    root.handlers = [_LIBRARIES]
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.captureWarnings(True)


def gather(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, lines of this thread are written once a turn of its event loop.

    What a turn does comes after the lines of the turn before, as if each were written alone; a
    burst costs one write instead of hundreds. Warnings and worse do not wait.
    """
    _WRITER.gather(loop)


def is_written(level: int) -> bool:
    """Whether a line of this level would be written; asking costs less than a dropped line."""
    return level >= _output.threshold


def get_logger(**fields: Any) -> FilteringBoundLogger:
    """A logger that puts these keys on every line: `get_logger(target="mail").info("sent")`."""
    return cast(FilteringBoundLogger, structlog.get_logger(**fields).bind())


class _Logger(structlog.make_filtering_bound_logger(LEVELS["debug"])):  # type: ignore[misc]
    """structlog's own, with a short way for events: no processors, for there is one."""

    def log(self, level: int, event: str, **fields: Any) -> None:
        """Write an event at the number of a level."""
        if level >= _output.threshold:
            write = self._logger.info if level < LEVELS["warning"] else self._logger.warning
            if self._context:
                fields = {**self._context, **fields}
            write(_event_line(_NAMES[level], event, fields))


def _to_line(_logger: Any, method: str, event_dict: EventDict) -> str:
    """The only structlog processor: an event as a line."""
    level = "error" if method == "exception" else method
    if LEVELS.get(level, 100) < _output.threshold:
        raise structlog.DropEvent
    return _event_line(level, str(event_dict.pop("event", "")), dict(event_dict))


def _event_line(level: str, event: str, fields: dict[str, Any]) -> str:
    try:
        return _line(level, event, fields)
    except Exception as error:  # whatever a value's own code raises
        return _line("error", "log_line_lost", {"reason": type(error).__name__})


def _line(level: str, event: str, fields: dict[str, Any]) -> str:
    if exc_info := fields.pop("exc_info", None):
        fields["exception"] = _traceback(exc_info)
    if _output.node and "node" not in fields:
        fields = {"node": _output.node, **fields}
    line = _output.render(_timestamp(), level, event, fields)
    return _SYSLOG[level] + line if _output.to_journal else line


def _is_stream(descriptor: int, stream: str | None) -> bool:
    """Whether the descriptor is what systemd connected to the journal, and not redirected since."""
    if not stream:
        return False
    try:
        there = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{there.st_dev}:{there.st_ino}"


_second = (0, "")


def _timestamp() -> str:
    """ISO 8601, UTC, always six digits of a second."""
    global _second
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    known, text = _second
    if known != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = (seconds, text)
    return f"{text}.{nanoseconds // 1000:06d}Z"


def _traceback(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        error: BaseException | None = exc_info
    elif isinstance(exc_info, tuple):
        error = exc_info[1]
    else:
        error = sys.exc_info()[1]
    return "".join(traceback.format_exception(error)).rstrip() if error else ""


def _json_line(timestamp: str, level: str, event: str, fields: Mapping[str, Any]) -> str:
    record = {"timestamp": timestamp, "level": level, "event": event, **fields}
    try:
        line = orjson.dumps(record, default=_form, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()
        if line.isascii():
            return line
        # Characters that look like an end of line to some reader are to be escaped.
        return _encode(record)
    except (TypeError, ValueError, RecursionError):
        # A key that is no text, a lone surrogate, a number too big, a circle.
        return _encode(_plain_tree(record))


def _form(value: Any) -> str:
    # In a burst most instants are the same; what is equal in another zone reads otherwise.
    return _instant(value, value.tzinfo) if type(value) is datetime else _plain(value)


@lru_cache(maxsize=64)
def _instant(value: datetime, _zone: tzinfo | None) -> str:
    return _plain(value)


def _plain_tree(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict) and depth < _LONGEST_NESTING:
        return {str(key): _plain_tree(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset) and depth < _LONGEST_NESTING:
        return [_plain_tree(inner, depth + 1) for inner in value]
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, float) and value - value == 0:  # neither infinite nor NaN
        return value
    return _plain(value)


def _plain(value: Any) -> str:
    """Text for what JSON has no form for."""
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


def _columns(*, colour: bool) -> Callable[[str, str, str, Mapping[str, Any]], str]:
    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    def render(timestamp: str, level: str, event: str, fields: Mapping[str, Any]) -> str:
        said = [
            f"{paint('36', _shown(key))}={_shown(value)}"
            for key, value in fields.items()
            if key != "exception"
        ]
        head = f"{timestamp[:10]} {timestamp[11:23]}Z {paint(_COLOURS[level], f'{level:<8}')} "
        line = head + " ".join([paint("1", f"{_shown(event):<28}"), *said]).rstrip()
        if "exception" in fields:
            below = str(fields["exception"]).splitlines()
            line += "".join(f"\n    {_printable(text)}" for text in below)
        return line

    return render


def _shown(value: Any) -> str:
    """A value in a column: bare if that is clear, else quoted with everything odd escaped."""
    if not isinstance(value, str):
        value = _plain(value) if not isinstance(value, dict | list | tuple) else repr(value)
        return _printable(value)
    if value and value.isprintable() and not any(sign in value for sign in " =\"'"):
        return value
    return _printable(json.dumps(value, ensure_ascii=False))


def _printable(text: str) -> str:
    """Without control characters, which a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


class _Writer:
    """What structlog calls with a finished line."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._gathered: list[str] = []

    def gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write this thread's lines once a turn of its event loop."""
        self._loop, self._thread = loop, threading.get_ident()
        atexit.register(self.flush)

    def write(self, line: str) -> None:
        loop = self._loop
        if loop is None or self._thread != threading.get_ident():
            _write_out([line])
            return
        if not loop.is_running():
            self._loop = None  # it has ended, and will not turn again
            self.flush()
            _write_out([line])
            return
        if not self._gathered:
            loop.call_soon(self.flush)
        self._gathered.append(line)
        if len(self._gathered) >= _GATHERED_AT_MOST:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            _write_out(gathered)

    def write_now(self, line: str) -> None:
        self.write(line)
        if self._thread == threading.get_ident():
            self.flush()

    debug = info = log = msg = write
    warning = error = critical = exception = write_now


def _write_out(lines: Sequence[str]) -> None:
    rest = memoryview(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
    descriptor = _output.descriptor
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            if not select.select([], [descriptor], [], _FULL_WAIT_S)[1]:
                return
        except (OSError, ValueError):  # gone: whoever read it has left
            return


class _Libraries(logging.Handler):
    """The standard library's logging, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, Any] = {
                "logger": record.name,
                "message": record.getMessage(),
            }
            if record.exc_info:
                fields["exc_info"] = record.exc_info
            _WRITER.write_now(_line(_level_name(record.levelno), "library_message", fields))
        except Exception:
            _WRITER.write_now(_line("error", "log_line_lost", {"logger": record.name}))


def _level_name(number: int) -> str:
    return next((name for name, least in reversed(LEVELS.items()) if number >= least), "debug")


_WRITER = _Writer()
_LIBRARIES = _Libraries()
_output = _Output(LEVELS["info"], _json_line, "", 2)
