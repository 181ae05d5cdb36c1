"""Log lines: their format, and that no value and no output can break them."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
import structlog

from daemon.domain.campaign.state_machine import Status
from daemon.telemetry import log_setup, log_writer
from daemon.telemetry.log_setup import configure_log, get_logger
from daemon.telemetry.log_writer import LogWriter


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Restore the global configuration of logging."""
    root = logging.getLogger()
    handlers, level, output = list(root.handlers), root.level, log_setup._output
    descriptor = log_setup._WRITER.descriptor
    yield
    logging.captureWarnings(False)
    root.handlers, log_setup._output = handlers, output
    log_setup._WRITER.descriptor = descriptor
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Callable[..., list[str]]]:
    """Return a function that configures the log and returns the lines written since."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)

    def written(
        level: str = "info", format: str = "json", node: str = "n1", *, start: bool = False
    ) -> list[str]:
        if start:
            configure_log(level, format, node, descriptor=descriptor)  # type: ignore[arg-type]
        return path.read_text().splitlines()

    yield written
    os.close(descriptor)


Lines = Callable[..., list[str]]


def test_json_line(lines: Lines) -> None:
    """The fixed keys come first and in order, then the event's own."""
    lines(start=True)
    get_logger(target="mail").info("run_finished", run_id=UUID(int=1), lateness_ms=1.5)
    (line,) = lines()
    record = json.loads(line)
    assert list(record) == [
        "timestamp", "level", "event", "node", "target", "run_id", "lateness_ms",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.pop("timestamp"))
    assert record == {
        "level": "info",
        "event": "run_finished",
        "node": "n1",
        "target": "mail",
        "run_id": str(UUID(int=1)),
        "lateness_ms": 1.5,
    }


def test_timestamp_is_utc_and_has_six_digits(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds in any zone, and in the first microsecond of a second too."""
    monkeypatch.setattr(log_setup.time, "time_ns", lambda: 1_767_225_600_000_000_999)
    lines(start=True)
    get_logger().info("x")
    assert json.loads(lines()[0])["timestamp"] == "2026-01-01T00:00:00.000000Z"


def test_level_and_reconfiguration(lines: Lines) -> None:
    """A logger that is kept follows a later change of the level."""
    lines(start=True)
    kept = get_logger()
    kept.debug("one")
    kept.info("two")
    lines("debug", start=True)
    kept.debug("three")
    lines("error", start=True)
    kept.warning("four")
    kept.critical("five")
    assert [json.loads(line)["event"] for line in lines()] == ["two", "three", "five"]


def test_exception_is_one_key(lines: Lines) -> None:
    """A traceback does not break the line."""
    lines(start=True)
    try:
        raise RuntimeError("a\nb")
    except RuntimeError:
        get_logger().exception("broken")
    (line,) = lines()
    record = json.loads(line)
    assert record["level"] == "error"
    assert record["exception"].startswith("Traceback")
    assert record["exception"].endswith("RuntimeError: a\nb")


class Hostile:
    """A value that has no text."""

    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


circle: list[object] = []
circle.append(circle)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("-inf"),
        {1: {(2, 3): float("nan")}},
        {"a", 1},
        b"\xff\x00",
        "\ud800",
        "a\nb\x1b[2J\u2028",
        Hostile(),
        datetime(2026, 1, 1, tzinfo=UTC),
        circle,
        object,
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("format", ["json", "console"])
def test_any_value_is_one_line(lines: Lines, value: object, format: str) -> None:
    """Any value makes one line of strict JSON, and no exception reaches the caller."""
    lines(format=format, start=True)
    get_logger().info("event", value=value)
    logging.getLogger("library").error("said %s", value)
    both = lines()
    assert len(both) == 2
    for line in both:
        assert line.isprintable()
        if format == "json":
            json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_columns(lines: Lines) -> None:
    """Columns are readable, and without colours unless there is a terminal."""
    lines(format="console", start=True)
    get_logger().warning("lease_lost", run_id=7, reason="two words", plain="word", none=None)
    (line,) = lines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z warning  lease_lost {18} +"
        r'node=n1 run_id=7 reason="two words" plain=word none=None',
        line,
    )


def test_columns_cannot_be_forged(lines: Lines) -> None:
    """Control characters in a key, an event or an exception do not reach the terminal."""
    lines(format="console", start=True)
    try:
        raise RuntimeError("x\r\x1b[2J")
    except RuntimeError:
        get_logger().exception("a\nb=c", **{"k\n": "v\r\n2026-01-01 error forged"})
    written = lines()
    assert all(line.isprintable() for line in written)
    assert [line for line in written if not line.startswith("    ")] == written[:1]


def test_colours_on_a_terminal() -> None:
    """On a terminal, `auto` means columns with colour."""
    ours, terminal = os.openpty()
    try:
        configure_log("info", "auto", "n1", descriptor=terminal)
        get_logger().error("oops")
        written = os.read(ours, 1000).decode()
    finally:
        os.close(ours)
        os.close(terminal)
    assert "\x1b[31merror" in written
    assert "oops" in written


def test_auto_is_json_elsewhere(lines: Lines) -> None:
    """For a file, `auto` means JSON."""
    lines(format="auto", start=True)
    get_logger().info("x")
    assert json.loads(lines()[0])["event"] == "x"


def test_libraries(lines: Lines) -> None:
    """A record of a library, from warnings on, becomes one line with an event of ours."""
    lines("debug", start=True)
    logging.getLogger("apscheduler.scheduler").info("not this")
    logging.getLogger("apscheduler.scheduler").warning("two\nlines %d", 2)
    (line,) = lines()
    record = json.loads(line)
    assert (record["event"], record["level"]) == ("library_message", "warning")
    assert record["logger"] == "apscheduler.scheduler"
    assert record["message"] == "two\nlines 2"


def test_library_errors(lines: Lines) -> None:
    """An error has its traceback; a wrong format string loses only its own line."""
    lines(start=True)
    try:
        raise RuntimeError("x")
    except RuntimeError:
        logging.getLogger("sqlalchemy.pool").exception("failed")
    logging.getLogger("sqlalchemy.pool").error("%d", "no number")
    first, second = [json.loads(line) for line in lines()]
    assert "RuntimeError: x" in first["exception"]
    assert second["event"] == "log_line_lost"


def test_warnings_are_logged(lines: Lines) -> None:
    """Python's own warnings become lines too."""
    lines(start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings has put the original function back
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert json.loads(lines()[0])["logger"] == "py.warnings"


def test_a_reader_that_left() -> None:
    """A broken pipe loses lines, and raises nothing."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        configure_log("info", "json", descriptor=writer)
        get_logger().info("no reader")
        logging.getLogger("library").error("no reader either")
    finally:
        os.close(writer)


def test_a_closed_descriptor() -> None:
    """A closed descriptor loses lines, and raises nothing."""
    reader, writer = os.pipe()
    configure_log("info", "json", descriptor=writer)
    os.close(reader)
    os.close(writer)
    get_logger().info("no reader")


def test_a_full_pipe_that_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer waits briefly, then drops the line."""
    monkeypatch.setattr(log_writer, "_FULL_WAIT_S", 0.001)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        configure_log("info", "json", descriptor=writer)
        for _ in range(3):
            get_logger().info("long", text="x" * 100_000)
        assert os.read(reader, 20).startswith(b'{"timestamp"')
    finally:
        os.close(reader)
        os.close(writer)


def test_the_journal_gets_priorities(tmp_path: Path) -> None:
    """Lines have a priority only if systemd connected standard error to the journal."""
    path = tmp_path / "log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    there = os.fstat(descriptor)
    try:
        for stream in (f"{there.st_dev}:{there.st_ino}", "7:7", "", None):
            configure_log("debug", "json", descriptor=descriptor, journal_stream=stream)
            get_logger().error("oops")
            get_logger().debug("detail")
    finally:
        os.close(descriptor)
    written = path.read_text().splitlines()
    assert [line[:4] for line in written] == ["<3>{", "<7>{", *['{"ti'] * 6]


def read_to_the_end(reader: int) -> list[str]:
    """Return the lines in a pipe whose other end is closed."""
    with open(reader, encoding="utf-8") as file:
        return file.read().splitlines()


def test_queued_lines_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    writes: list[int] = []
    really = os.write

    def count_write(descriptor: int, data: memoryview) -> int:
        writes.append(len(data))
        return really(descriptor, data)

    monkeypatch.setattr(log_writer.os, "write", count_write)
    log = LogWriter(str, writer)
    log.start_thread()
    with log._lock:  # the thread waits
        for number in range(100):
            log.info(f"{number}")
            log.warning("é")
    log.flush()
    os.close(writer)
    assert read_to_the_end(reader) == [text for number in range(100) for text in (str(number), "é")]
    assert len(writes) == 1


@pytest.mark.parametrize("blocks", [True, False])
def test_a_reader_that_stalls_loses_lines(monkeypatch: pytest.MonkeyPatch, blocks: bool) -> None:
    """The caller never waits. Once the reader reads, a line has the number of those lost."""
    monkeypatch.setattr(log_writer, "MAX_QUEUED", 100_000)
    reader, writer = os.pipe()
    os.set_blocking(writer, blocks)
    log = LogWriter(lambda count: f"lost {count}", writer)
    log.start_thread()
    for number in range(5_000):
        log.info(f"{number:<99}")
    with open(reader, encoding="utf-8") as file:
        lines = []
        for line in file:
            lines.append(line.strip())
            if line.startswith("lost"):
                break
        kept = len(lines) - 1
        assert lines == [*map(str, range(kept)), f"lost {5_000 - kept}"]
        assert 0 < kept < 5_000
        log.info("after")
        assert file.readline() == "after\n"
        log.flush()
    os.close(writer)


ENDING = """
import sys
from daemon.telemetry.log_setup import configure_log, get_logger, writing_in_background
configure_log("info", "json")
with writing_in_background():
    for number in range(3000):
        get_logger().info("event", number=number)
    {end}
"""


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise SystemExit(3)"])
def test_the_last_lines_before_an_exit_are_written(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING.format(end=end)], capture_output=True, text=True, check=False
    )
    assert [json.loads(line)["number"] for line in done.stderr.splitlines()] == list(range(3000))


def test_the_last_lines_before_a_crash_are_written() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING.format(end="raise RuntimeError('crash')")],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert [json.loads(line)["number"] for line in lines[:3000]] == list(range(3000))
    assert lines[-1] == "RuntimeError: crash"


def test_a_process_ends_although_the_reader_stalls() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDING.format(end="pass")], stderr=subprocess.PIPE
    ) as process:
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    "value", ['é"\n', 5, True, None, 1.5, 1e300, UUID(int=5), Status.EXECUTING]
)
def test_a_line_reads_as_the_library_would_write_it(lines: Lines, value: object) -> None:
    """The fast and the general way to JSON give the same text."""
    lines(start=True)
    get_logger().info("event", value=value)
    plain = value if isinstance(value, str | int | float | None) else str(value)
    assert json.loads(lines()[0])["value"] == plain


def test_equal_instants_keep_their_zones(lines: Lines) -> None:
    lines(start=True)
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    for value in (noon, noon.astimezone(timezone(timedelta(hours=2))), noon):
        get_logger().info("event", at=value)
    assert [json.loads(line)["at"] for line in lines()] == [
        "2026-06-01T12:00:00.000000Z",
        "2026-06-01T14:00:00.000000+02:00",
        "2026-06-01T12:00:00.000000Z",
    ]
