"""Configures structlog: JSON or columns on standard error, one line per event.

Logging never raises into the caller: a value that cannot be serialised becomes its text, and a
standard error that is closed or not read loses lines. No value can forge or break a line.

Keys come in the order `timestamp` (UTC, microseconds), `level`, `event`, `node`, the event's own.
Records of libraries become the event `library_message` with `logger` and `message`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import structlog
from structlog.processors import ExceptionRenderer, add_log_level
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from daemon.telemetry.log_renderers import Renderer, console_renderer, json_renderer
from daemon.telemetry.log_writer import LogWriter

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_NAMES = {number: name for name, number in LEVELS.items()}
_PRIORITY = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}
"""Prefix that sets a line's priority in the journal (sd-daemon(3))."""
_HEAD = {"timestamp": "", "level": "", "event": "", "node": ""}
"""The first keys of every line. They are bound first, because dictionaries keep their order."""


@dataclass
class _OutputSettings:
    """The present configuration; replaced as a whole, so that kept loggers follow it."""

    threshold: int
    render: Renderer
    node: str
    to_journal: bool = False


def configure_log(
    level: str = "info",
    format: Literal["auto", "json", "console"] = "auto",
    node: str = "",
    *,
    descriptor: int = 2,
    journal_stream: str | None = None,
) -> None:
    """Send this process's log to standard error. A later call replaces the configuration.

    Args:
        level: the lowest level that is written, a key of `LEVELS`.
        format: `auto` means columns on a terminal and JSON elsewhere.
        node: the value of the key `node`, which is left out if the value is empty.
        descriptor: the file descriptor to write to.
        journal_stream: device and inode of the journal's socket, as systemd passes them. Lines
            written to that socket begin with their priority.
    """
    global _output
    is_terminal = os.isatty(descriptor)
    to_console = format == "console" or (format == "auto" and is_terminal)
    render = console_renderer(colour=is_terminal) if to_console else json_renderer
    _output = _OutputSettings(
        LEVELS[level], render, node, _is_journal_socket(descriptor, journal_stream)
    )
    _WRITER.descriptor = descriptor
    structlog.configure(
        processors=[_add_first_keys, add_log_level, ExceptionRenderer(), _render_line],
        wrapper_class=BoundLogger,
        logger_factory=lambda *_: _WRITER,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_LIBRARIES]
    # The lower levels of libraries do not help an operator.
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.captureWarnings(True)


@contextmanager
def writing_in_background() -> Iterator[None]:
    """Write the lines in a thread, so that a reader that stalls stops nothing.

    At the end the queued lines are written, so that a final error message follows them.
    """
    _WRITER.start_thread()
    try:
        yield
    finally:
        _WRITER.flush()


def is_written(level: int) -> bool:
    """Return whether a line of this level is written; cheaper than a line that is dropped."""
    return level >= _output.threshold


def get_logger(**fields: Any) -> BoundLogger:
    """Return a logger that adds ``fields`` to every line."""
    return cast(BoundLogger, structlog.get_logger(**_HEAD, **fields).bind())


class BoundLogger(structlog.make_filtering_bound_logger(LEVELS["debug"])):  # type: ignore[misc]
    """structlog's bound logger with a short way for events.

    `write` neither interpolates the event nor copies its fields from call to call, which would
    cost two microseconds for each line.
    """

    def write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        """Write an event at the number of a level."""
        method = _NAMES[level]
        try:
            (line,), _ = self._process_event(method, event, fields)
        except structlog.DropEvent:
            return
        getattr(self._logger, method)(line)

    def write_each(
        self,
        level: int,
        event: str,
        fields: dict[str, Any],
        keys: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Write an event for each row of a batch; the lines have the same timestamp.

        Keys without a value are left out.
        """
        method = _NAMES[level]
        event_dict = _add_time_and_node(
            {**self._context, "level": method, "event": event, **fields}
        )
        lines = []
        for row in rows:
            event_dict.update(zip(keys, row, strict=True))
            line = {**event_dict}
            if None in row:
                line = {key: value for key, value in line.items() if value is not None}
            lines.append(_render_line(self._logger, method, line))
        self._logger.queue(lines)


def _is_journal_socket(descriptor: int, stream: str | None) -> bool:
    """Return whether systemd's journal socket is still what the descriptor refers to."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def _add_first_keys(_logger: Any, method: str, event_dict: EventDict) -> EventDict:
    if LEVELS[method] < _output.threshold:
        raise structlog.DropEvent
    return _add_time_and_node(event_dict)


_second = (0, "")


def _add_time_and_node(event_dict: EventDict) -> EventDict:
    # structlog's TimeStamper leaves out a fraction of zero and costs another microsecond per line.
    global _second
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    known, text = _second
    if known != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = (seconds, text)
    event_dict["timestamp"] = f"{text}.{nanoseconds // 1000:06d}Z"
    if not event_dict["node"]:
        event_dict["node"] = _output.node
        if not _output.node:
            del event_dict["node"]
    return event_dict


def _render_line(logger: Any, method: str, event_dict: EventDict) -> str:
    level = event_dict["level"]
    try:
        line = _output.render(logger, method, event_dict)
    except Exception as error:  # whatever a value's own code raises
        return _line_about_loss({"event": "log_line_lost", "reason": type(error).__name__})
    return _PRIORITY[level] + line if _output.to_journal else line


def _line_about_loss(fields: EventDict) -> str:
    return _render_line(None, "error", _add_time_and_node({**_HEAD, **fields, "level": "error"}))


def _make_library_event(_logger: Any, _method: str, event_dict: EventDict) -> EventDict:
    record = event_dict["_record"]
    fields = {
        "event": "library_message",
        "logger": record.name,
        "message": event_dict["event"],
        "exc_info": event_dict.get("exc_info"),
    }
    level = next((name for name, least in _DESCENDING if record.levelno >= least), "debug")
    return _add_time_and_node({**_HEAD, **fields, "level": level})


class _LibraryHandler(logging.Handler):
    """Writes records of the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # whatever its arguments raise
            line = _line_about_loss({"event": "log_line_lost", "logger": record.name})
        _WRITER.warning(line)


_DESCENDING = sorted(LEVELS.items(), key=lambda level: -level[1])
_WRITER = LogWriter(lambda count: _line_about_loss({"event": "log_lines_lost", "count": count}))
_LIBRARIES = _LibraryHandler()
_LIBRARIES.setFormatter(
    ProcessorFormatter(processors=[_make_library_event, ExceptionRenderer(), _render_line])
)
_output = _OutputSettings(LEVELS["info"], json_renderer, "")
