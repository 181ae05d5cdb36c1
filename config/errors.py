"""What is wrong with the configuration, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigurationError(Exception):
    """The configuration can not be used.

    `problems` holds one line for each mistake: name, value, where it was set, what is allowed.
    Secrets in it are redacted.
    """

    exit_code = 2
    hint: str | None = None

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))
