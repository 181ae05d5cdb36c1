"""Reads one setting by itself, `timezone_data`, for commands that read no others.

Every process of a node needs it before it reads a zone, also `campaignd preview`, which works
without a valid configuration. So nothing is reported here: `load_settings` does that.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

DEFAULT_FILE = Path("/etc/campaignd/campaignd.toml")
CONFIG_VARIABLE = "CAMPAIGND_CONFIG"
_VARIABLE = "CAMPAIGND_TIMEZONE_DATA"
CHOICES = ("newest", "system", "package")


def read_timezone_data(
    config_file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> str:
    """Return the setting `timezone_data`; the default where it is absent, invalid or unreadable.

    Args:
        config_file: the file of `--config`; None for `CAMPAIGND_CONFIG`, else the default file.
        environ: the environment.
    """
    given: object = environ.get(_VARIABLE)
    if not given:
        path = config_file or Path(environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)
        given = _value_in_file(path)
    return given if isinstance(given, str) and given in CHOICES else CHOICES[0]


def _value_in_file(path: Path) -> object:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig")).get("timezone_data")
    except (OSError, ValueError):
        return None
