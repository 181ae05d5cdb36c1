"""What every command gets from the options before it: settings, and a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from config.settings import Settings
    from config.values_only import Reading


@dataclass(frozen=True)
class CommandContext:
    """The global options; `typer.Context.obj` of every command."""

    config: Path | None = None
    debug: bool = False

    def settings(self, **flags: Any) -> Settings:
        """The checked settings; flags by name with two underscores (`api__port=8080`), None: unset.

        Raises:
            ConfigurationError: with all that is wrong.
        """
        from config.load import load_settings

        return load_settings(self.config, _dotted(flags))

    def reading(self, **flags: Any) -> Reading:
        """The same settings, being read by another process: this one stays small.

        Raises:
            ConfigurationError: when the settings are asked for, with all that is wrong.
        """
        from config.values_only import Reading

        return Reading(self.config, _dotted(flags))

    @contextmanager
    def database(
        self,
        settings: Settings,
        log: Callable[..., object] | None = None,
        *,
        create: bool = False,
    ) -> Iterator[str]:
        """The URL of the database: the given one as it is, or the embedded one, migrated.

        `create` is for commands that begin something: who only looks or steers in a place without
        a database is in the wrong place, and would be told lies by a new and empty one.

        Raises:
            EmbeddedError, StorageUnavailable, SchemaOutOfDate: it can not be had.
        """
        if settings.database_url is not None:
            yield settings.database_url
            return
        from storage import migrate
        from storage.embedded import embedded_postgres
        from storage.schema import HEAD

        options = {} if log is None else {"log": log}
        with embedded_postgres(settings.state_dir, create=create, **options) as url:
            if migrate.current(url).version != HEAD:
                migrate.upgrade(url)
            yield url


def _dotted(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in flags.items()}
