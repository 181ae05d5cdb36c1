"""The server that commands talk to instead of a database: its URL, and the API key for it.

`--server` or `CAMPAIGND_SERVER` is a URL, or a profile: a table of the file `servers.toml` in the
user's configuration directory, with `url`, and `key` or `key_file`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config.errors import ConfigurationError

SERVER_VARIABLE = "CAMPAIGND_SERVER"
KEY_FILE_VARIABLE = "CAMPAIGND_KEY_FILE"
_FIELDS = frozenset({"url", "key", "key_file"})


@dataclass(frozen=True)
class ServerAccess:
    """A campaignd that answers over HTTP. `key` is a secret, and never shown."""

    url: str
    key: str


def find_server(
    name: str | None, key_file: Path | None, environ: Mapping[str, str] | None = None
) -> ServerAccess | None:
    """Return the server that the options and the environment name; None: the database is local.

    Args:
        name: the option --server, a URL or a profile; None for that of the environment.
        key_file: the option --key-file; None for that of the environment or of the profile.
        environ: the environment; `os.environ` by default.

    Raises:
        ConfigurationError: the profile or the key cannot be read, or the URL is invalid.
    """
    environ = os.environ if environ is None else environ
    name = server_name(name, environ)
    if name is None:
        return None
    key_file = key_file or _path(environ.get(KEY_FILE_VARIABLE))
    profile: dict[str, Any] = {"url": name}
    if "://" not in name:
        profile = _read_profile(name, _profiles_file(environ))
    url = str(profile.get("url", ""))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise ConfigurationError([f"--server: {url!r} must be an http:// or https:// URL"])
    if key_file is None and "key" in profile:
        return ServerAccess(url.rstrip("/"), str(profile["key"]))
    key_file = key_file or _path(profile.get("key_file"))
    if key_file is None:
        raise ConfigurationError(
            [f"--server needs an API key: give --key-file FILE, or set {KEY_FILE_VARIABLE}"]
        )
    try:
        key = key_file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"--key-file: {key_file}: {error}"]) from None
    return ServerAccess(url.rstrip("/"), key)


def server_name(name: str | None, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the URL or the profile of --server, else of the environment; None without either."""
    environ = os.environ if environ is None else environ
    return name or environ.get(SERVER_VARIABLE) or None


def _profiles_file(environ: Mapping[str, str]) -> Path:
    home = environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(home, "campaignd", "servers.toml")


def _read_profile(name: str, file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as source:
            profiles = tomllib.load(source)
    except FileNotFoundError:
        raise ConfigurationError(
            [f"--server: {name!r} is no URL, and there are no profiles in {file}"]
        ) from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError([f"{file}: {error}"]) from None
    found = profiles.get(name)
    if not isinstance(found, dict):
        known = ", ".join(sorted(profiles)) or "none"
        raise ConfigurationError([f"{file}: there is no profile {name!r}; there are: {known}"])
    if unknown := sorted(set(found) - _FIELDS):
        raise ConfigurationError(
            [f"{file}: [{name}]: unknown: {', '.join(unknown)}; allowed are url, key, key_file"]
        )
    return found


def _path(text: object) -> Path | None:
    return Path(str(text)) if text else None
