"""The table of events matches every emit call, key by key, and docs/events.md."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from daemon.domain.errors import Unavailable
from daemon.domain.run import log_events
from daemon.telemetry.event_log import EventLog
from daemon.telemetry.events import EVENTS, OUTCOME, RUN, EventSpec

ROOT = Path(__file__).parents[3]
PACKAGES = ("daemon", "storage")
NAMED_ELSEWHERE = {
    "EVENTS[ended.status]": set(log_events.EVENTS.values()),
    "EVENTS[result.status]": set(log_events.EVENTS.values()),
    "f'run_{result.made}'": {"run_missed", "run_skipped", "run_queued"},
    "f'run_{passed.status}'": {"run_missed", "run_skipped"},
}
"""Events by the expression that stands for their names."""
OF_EVERY_LINE = {"level"}
EACH = 5
"""Number of arguments of `daemon.domain.ports.emit_each`."""


def literals(node: ast.expr | None) -> list[str]:
    """Return the keys of a dictionary display."""
    assert isinstance(node, ast.Dict), node
    return [ast.literal_eval(key) for key in node.keys if key is not None]


def constants(nodes: list[ast.expr | None]) -> list[object]:
    """Return the values of constants; None for another expression."""
    return [node.value if isinstance(node, ast.Constant) else None for node in nodes]


class Module:
    """The events that one source file emits."""

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_text("utf-8"))
        self.functions = {
            node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)
        }
        self._nodes = list(ast.walk(tree))

    def emitted(self, everywhere: dict[str, ast.FunctionDef]) -> Iterator[tuple[str, set[str]]]:
        """Yield each event, with the keys of one call that emits it."""
        functions = {**everywhere, **self.functions}
        for call in self._nodes:
            if not isinstance(call, ast.Call) or not call.args:
                continue
            match getattr(call.func, "attr", getattr(call.func, "id", "")):
                case "emit" | "_emit" | "log" as emitter:
                    if any(ast.unparse(each) == "**fields" for each in call.keywords):
                        continue  # passes on an event of another caller
                    keys = [each.arg for each in call.keywords if each.arg is not None]
                    for each in call.keywords:
                        if each.arg is None:
                            keys += self._spread(each.value, functions)
                    event = call.args[0]
                    assert names(event) or emitter == "log", ast.unparse(call)
                case "emit_each" if len(call.args) == EACH:
                    event = call.args[1]
                    if ast.unparse(event) == "event":
                        continue  # passes on a batch of another caller
                    keys = self._spread(call.args[2], functions)
                    assert names(event), ast.unparse(call)
                case _:
                    continue
            found = {"exception" if key == "exc_info" else key for key in keys} - OF_EVERY_LINE
            for name in names(event):
                yield name, found
        yield from self._own_lines()

    def _own_lines(self) -> Iterator[tuple[str, set[str]]]:
        """Yield the lines that the log itself makes: dictionaries with the key `event`."""
        for node in self._nodes:
            if isinstance(node, ast.Dict) and "event" in (keys := constants(node.keys)):
                name = node.values[keys.index("event")]
                if names(name) & EVENTS.keys():
                    found = {"exception" if key == "exc_info" else str(key) for key in keys}
                    yield names(name).pop(), found - {"event"}

    def _spread(self, value: ast.expr, functions: dict[str, ast.FunctionDef]) -> list[str]:
        """Return the keys of a dictionary: a display, a variable, or a function's result."""
        if isinstance(value, ast.Dict):
            return literals(value)
        if isinstance(value, ast.Call) and ast.unparse(value.func).endswith(".log_fields"):
            return list(RUN)
        if isinstance(value, ast.Call):
            made = ast.walk(functions[ast.unparse(value.func)])
            return literals(next(node.value for node in made if isinstance(node, ast.Return)))
        name, keys = ast.unparse(value), []
        for node in self._nodes:
            match node:
                case ast.AnnAssign(target=ast.Name(id=target), value=ast.Dict() as given):
                    keys += literals(given) if target == name else []
                case ast.Assign(
                    targets=[
                        ast.Subscript(value=ast.Name(id=target), slice=ast.Constant(value=key))
                    ]
                ):
                    keys += [key] if target == name else []
        return keys


def names(event: ast.expr) -> set[str]:
    """Return the events that an expression can name."""
    match event:
        case ast.Constant(value=str(name)):
            return {name}
        case ast.IfExp(body=one, orelse=other):
            return names(one) | names(other)
        case _:
            return NAMED_ELSEWHERE.get(ast.unparse(event), set())


def emitted_in_code() -> dict[str, set[str]]:
    """Return every event that the code emits, with the keys of all its calls."""
    modules = [Module(path) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    everywhere = {name: node for module in modules for name, node in module.functions.items()}
    found: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        for event, keys in module.emitted(everywhere):
            found[event] |= keys
    return found


def test_every_emitted_event_is_in_the_table() -> None:
    """An event missing from the table would raise when it is emitted."""
    assert emitted_in_code().keys() == EVENTS.keys()


def test_every_emitted_key_is_in_the_table() -> None:
    """The table has no other keys, so every documented key occurs in a line."""
    documented = {name: set(entry.keys) for name, entry in EVENTS.items()}
    assert emitted_in_code() == documented


def test_names_are_snake_case_and_meanings_are_sentences() -> None:
    """Names are stable identifiers; meanings are sentences for operators."""
    for name, entry in EVENTS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
        assert entry.meaning.endswith(".")
        assert len(set(entry.keys)) == len(entry.keys)


def row(name: str, entry: EventSpec) -> str:
    """Return the row of an event in docs/events.md."""
    keys = list(entry.keys)
    shown = []
    for short, long in (("*run*", RUN), ("*outcome*", OUTCOME)):
        if set(long) <= set(keys):
            keys = [key for key in keys if key not in long]
            shown.append(short)
    listed = ", ".join([*shown, *(f"`{key}`" for key in keys)])
    return f"| `{name}` | {entry.level} | {entry.meaning} | {listed} | {entry.to_do} |"


def test_the_document_has_the_table() -> None:
    """docs/events.md lists each event with its level, meaning, keys and remedy."""
    text = (ROOT / "docs" / "events.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [row(name, entry) for name, entry in EVENTS.items()]
    for short, keys in (("run", RUN), ("outcome", OUTCOME)):
        assert f"*{short}* stands for {', '.join(f'`{key}`' for key in keys)}" in " ".join(
            text.split()
        )


class Recorder:
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str, dict[str, Any]]] = []

    def write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        """Keep a line."""
        self.lines.append((level, event, fields))

    def write_each(
        self,
        level: int,
        event: str,
        fields: dict[str, Any],
        keys: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Keep the lines of a batch."""
        for row in rows:
            self.write(level, event, fields | dict(zip(keys, row, strict=True)))


def test_an_event_is_logged_at_its_level_without_empty_keys() -> None:
    """Keys without a value are left out, and the level comes from the table."""
    logger = Recorder()
    EventLog(logger)("run_missed", campaign_id=7, run_id=None, target="log")
    assert logger.lines == [(30, "run_missed", {"campaign_id": 7, "target": "log"})]


def test_a_level_given_wins() -> None:
    """The log target writes at the level it was configured with."""
    logger = Recorder()
    EventLog(logger)("delivered", level="error", campaign_id=7)
    assert logger.lines == [(40, "delivered", {"campaign_id": 7})]


def test_a_disabled_event_makes_no_line() -> None:
    """Below the log's level no line is built."""
    logger = Recorder()
    EventLog(logger)("run_claimed", campaign_id=7)
    assert logger.lines == []


def test_unavailable_is_retryable() -> None:
    """Code that waits out an outage catches this class."""
    assert Unavailable("away").retryable
