"""The error that lists every problem of a configuration."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigurationError(Exception):
    """The configuration is invalid.

    `problems` has one line for each problem: name, value, place, allowed values. Secrets in it are
    redacted.
    """

    exit_code = 2
    hint: str | None = None

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))
