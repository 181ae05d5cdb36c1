"""Settings without the library that has checked them.

pydantic is needed while settings are read and never after, and it is a good part of what a daemon
would have in memory. So another process reads and checks the configuration, and this one takes over
what came of it: the same attributes, as plain values.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from config.errors import ConfigurationError

if TYPE_CHECKING:
    from config.settings import Settings

_CODE = """
import json, sys
paths, config, flags = json.loads(sys.argv[1])
sys.path[:] = paths
from config.values_only import answer
answer(config, flags)
"""


class Values:
    """A section of settings: the attributes that its model has, which never change."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        vars(self).update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} is a setting, and settings do not change")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Reading:
    """The configuration, being read by another process."""

    def __init__(self, config: Path | None, flags: Mapping[str, Any]) -> None:
        """Begin.

        Args:
            config: what `--config` named.
            flags: by dotted name (`"api.port"`).
        """
        given = json.dumps([sys.path, None if config is None else str(config), dict(flags)])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE, given],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C is this process's to answer
        )

    def settings(self) -> Settings:
        """What came of it.

        Raises:
            ConfigurationError: with all that is wrong.
        """
        out, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"reading the configuration ended with {self._process.returncode}")
        found = pickle.loads(out)  # from a process of this program's own
        if isinstance(found, tuple):
            raise ConfigurationError(found)
        return cast("Settings", found)


def plain(value: Any) -> Any:
    """A model, or what holds models, without them."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return Values({name: plain(inner) for name, inner in value})
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return value


def answer(config: str | None, flags: Mapping[str, Any]) -> None:
    """Read and check the configuration; write what came of it to standard output."""
    from config.load import load_settings

    found: object
    try:
        found = plain(load_settings(None if config is None else Path(config), flags))
    except ConfigurationError as error:
        found = error.problems
    sys.stdout.buffer.write(pickle.dumps(found))
