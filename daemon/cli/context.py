"""The global options of a command line, and the settings and database that they lead to."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from config.exposure import ExposedFile
    from config.settings import Settings


@dataclass(frozen=True)
class CommandContext:
    """The global options; `typer.Context.obj` of every command.

    Imports that only some commands need are inside the methods: `--help`, `preview` and
    `completion` read no settings and open no database.
    """

    config: Path | None = None

    def read_settings(self, **flags: Any) -> Settings:
        """Read and check the settings.

        Args:
            flags: settings from the command line, by name with two underscores for the dot
                (`api__port=8080`). None means that the flag was not given.

        Raises:
            ConfigurationError: the configuration is invalid; it lists every problem.
        """
        from config.load import load_settings

        dotted = {name.replace("__", "."): value for name, value in flags.items()}
        return load_settings(self.config, dotted)

    def find_exposed_files(self) -> list[ExposedFile]:
        """Return the files with secrets of the configuration that every user may read."""
        from config.exposure import exposed_files

        return exposed_files(self.config)

    def log_exposed_files(self, emit: Callable[..., object]) -> None:
        """Warn at a start of files with secrets that every user may read."""
        for file in self.find_exposed_files():
            emit(
                "secrets_exposed",
                path=str(file.path),
                mode=f"{file.mode:04o}",
                settings=list(file.settings),
            )

    @contextmanager
    def provide_database(
        self,
        settings: Settings,
        log: Callable[..., object] | None = None,
        *,
        create: bool = False,
    ) -> Iterator[str]:
        """Provide the URL of the configured database, or of the embedded one after migration.

        Args:
            settings: the checked settings.
            log: the emitter for events of the embedded server; None discards them.
            create: make an embedded database where there is none. For commands that begin
                something. A command that only reads would report falsehoods from a new and empty
                database, so without `create` a missing database is an error.

        Raises:
            EmbeddedError: the embedded server cannot be started, or there is no database.
            StorageUnavailable: the database cannot be reached.
            SchemaOutOfDate: the schema cannot be migrated by this release.
        """
        if settings.database_url is not None:
            yield settings.database_url
            return
        from storage import migrate
        from storage.embedded import embedded_postgres
        from storage.schema import HEAD

        options: dict[str, Any] = {} if log is None else {"log": log}
        options["programs"] = settings.embedded_programs
        with embedded_postgres(settings.state_dir, create=create, **options) as url:
            if migrate.current_schema(url).version != HEAD:
                migrate.upgrade(url)
            yield url


def context_of(context: typer.Context) -> CommandContext:
    """Return the global options that a command was invoked with."""
    found = context.find_object(CommandContext)
    assert found is not None
    return found


def command_line_actor() -> str:
    """Return the operator at the command line, for `campaign_events` and the audit log."""
    user = os.geteuid()
    try:
        return f"cli:{pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"cli:{user}"
