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

from config.timezone_data import read_timezone_data
from daemon.cli.screen import Output, Screen
from daemon.domain.schedule.timezones import is_zone, zone
from daemon.domain.schedule.zone_data import Preference, use

if TYPE_CHECKING:
    from config.exposure import ExposedFile
    from config.settings import Settings


@dataclass
class CommandContext:
    """The shared options; `typer.Context.obj` of every command.

    An option may stand before the command's name or after it; `add` takes the latter.

    Imports that only some commands need are inside the methods: `--help`, `preview` and
    `completion` read no settings and open no database.
    """

    config: Path | None = None
    debug: bool = False
    server: str | None = None
    key_file: Path | None = None
    timeout: float | None = None
    """Seconds to wait for the database; None: the command's default."""
    output: Output | None = None
    json: bool = False
    wide: bool = False
    utc: bool = False
    tz: str | None = None

    def add(self, options: dict[str, Any]) -> None:
        """Take the options that were given after the command's name."""
        for name, value in options.items():
            if value is not None and value is not False:
                setattr(self, name, value)
        if options.get("config") is not None:
            self.choose_zone_data()

    def choose_zone_data(self) -> None:
        """Use the time-zone data that the configuration names."""
        use(Preference(read_timezone_data(self.config)))

    def screen(self) -> Screen:
        """Return what the command prints for.

        Raises:
            typer.BadParameter: the options contradict each other, or there is no such zone.
        """
        if self.json and self.output not in (None, Output.JSON):
            raise typer.BadParameter(f"--json contradicts -o {self.output}")
        if self.utc and self.tz is not None:
            raise typer.BadParameter("--utc contradicts --tz")
        chosen = None
        if self.tz is not None:
            if not is_zone(self.tz):
                raise typer.BadParameter(
                    f"{self.tz!r} is not a time zone, such as Europe/Paris", param_hint="--tz"
                )
            chosen = zone(self.tz)
        output = Output.JSON if self.json else self.output or Output.TABLE
        return Screen.of_standard_output(output, wide=self.wide, utc=self.utc, zone=chosen)

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
