"""The command that a person means by another word: by meaning first, then by spelling.

A command that cannot be taken back is suggested only for a word that asks for it: a mistyped
word never leads to `delete`.
"""

from __future__ import annotations

from collections.abc import Collection

_MEANINGS = {
    "create": ("add", "new", "make", "insert"),
    "edit": ("update", "modify", "change", "set", "move", "reschedule"),
    "delete": ("remove", "rm", "del", "destroy"),
    "copy": ("clone", "duplicate", "cp"),
    "rename": ("mv", "name"),
    "start": ("resume", "unpause", "enable", "activate", "continue"),
    "pause": ("suspend", "disable", "deactivate", "hold"),
    "stop": ("cancel", "abort", "end", "kill", "terminate"),
    "run-now": ("trigger", "fire", "execute", "send", "dispatch", "now"),
    "campaigns": ("ls", "all"),
    "show": ("get", "describe", "view", "info", "cat"),
    "runs": ("history", "executions", "jobs", "logs", "tail"),
    "upcoming": ("next", "future", "due"),
    "agenda": ("calendar", "cal", "month", "week"),
    "explain": ("why", "debug"),
    "check": ("doctor", "validate", "verify", "lint", "test"),
    "init": ("setup", "configure", "config"),
    "audit-log": ("audit", "who", "log"),
    "open": ("console", "web", "ui", "browser", "login", "dashboard"),
    "keys": ("key", "tokens", "token"),
    "db upgrade": ("upgrade", "migrate", "migrations"),
    "run": ("serve", "daemon", "server", "up"),
    "status": ("nodes", "cluster", "stat", "ps"),
    "export": ("dump", "backup"),
    "import": ("load", "restore"),
    "targets": ("target-list", "endpoints"),
    "--help": ("help",),
    "--version": ("version",),
}
_BY_WORD = {word: command for command, words in _MEANINGS.items() for word in words}
DANGEROUS = frozenset({"delete", "stop", "prune", "release", "drop", "rerun", "run-now", "freeze"})
"""Commands that send, end or delete something: never suggested by spelling alone."""


def suggestion(word: str, commands: Collection[str]) -> str | None:
    """Return the command that a word probably means, as typed; None where none is likely.

    Args:
        word: the word that names no command.
        commands: the names of the commands.
    """
    meant = _BY_WORD.get(word.lower())
    if meant is not None and (meant.startswith("--") or meant.split()[0] in commands):
        return f"campaignd {meant}"
    near = closest(word.lower(), [name for name in commands if name not in DANGEROUS])
    return None if near is None else f"campaignd {near}"


def closest(word: str, names: Collection[str]) -> str | None:
    """Return the name that is spelt most like the word; None where none is close."""
    from difflib import get_close_matches  # only for a mistake

    return next(iter(get_close_matches(word, names, n=1, cutoff=0.6)), None)
