"""Files with secrets that every user of the machine may read."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from config.load import gather_values
from config.names import is_secret

_SECRET_WORD = re.compile(r"(?i)pass|pwd|secret|token|key|auth|credential|cookie")
_FILE_OPTION = re.compile("file$|^sslkey$")
_URL = re.compile(r"(?i)[a-z][a-z0-9+]*://")
# Webhooks of chat services carry their secret in the path.
_TOKEN = re.compile(r"(?=[\w-]*\d)[\w-]{16,}")
_CONTAINER_SIGNS = ("/.dockerenv", "/run/.containerenv")


@dataclass(frozen=True, slots=True)
class ExposedFile:
    """A file that every user may read, and the settings whose secrets it holds."""

    path: Path
    settings: tuple[str, ...]
    mode: int

    def __str__(self) -> str:
        """For operators, with the remedy."""
        return (
            f"every user can read {self.path} (mode {self.mode:04o}), which holds"
            f" {', '.join(self.settings)}: chmod o-r"
        )


def exposed_files(
    config_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> list[ExposedFile]:
    """Return the files with secrets of this configuration that every user may read.

    In a container there are no other users, so that there is none. The keys and passwords of
    libpq are left out: libpq refuses readable ones itself.

    Args:
        config_file: the file of `--config`; None for `CAMPAIGND_CONFIG`, else the default file.
        environ: the environment, `os.environ` by default.
    """
    environ = os.environ if environ is None else environ
    if "KUBERNETES_SERVICE_HOST" in environ or any(map(os.path.exists, _CONTAINER_SIGNS)):
        return []
    gathered = gather_values(config_file, environ)
    holders: defaultdict[Path, list[str]] = defaultdict(list)
    for path, name, value in gathered.from_files:
        if is_secret(name) and _holds_secret(name[-1], value):
            holders[path].append(".".join(name))
    for name, value in gathered.values.items():
        for path in _named_files(name[-1], value):
            holders[path].append(".".join(name))
    return [
        ExposedFile(path, tuple(sorted(set(names))), mode)
        for path, names in holders.items()
        if (mode := _exposed_mode(path)) is not None
    ]


def _holds_secret(setting: str, value: Any) -> bool:
    """Return whether the value of a secret setting is more than an address or a plain text."""
    if setting == "secrets":
        return bool(value)
    if isinstance(value, str) and _URL.match(value):
        return _is_secret_url(value)
    return any(_SECRET_WORD.search(text) for text in _texts_in(value))


def _is_secret_url(value: str) -> bool:
    before, _, options = value.partition("://")[2].partition("?")
    user, _, location = before.rpartition("@")
    names = (option.partition("=")[0] for option in options.split("&"))
    return (
        ":" in user
        or any(_SECRET_WORD.search(name) and not _FILE_OPTION.search(name) for name in names)
        or any(_TOKEN.fullmatch(part) for part in location.split("/")[1:])
    )


def _texts_in(value: Any) -> Iterator[str]:
    """Yield the names of a table, or the whole text of one that is not parsed yet."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name)
            if isinstance(inner, Mapping):
                yield from _texts_in(inner)


def _named_files(setting: str, value: Any) -> Iterable[Path]:
    """Return the files of secrets that a setting names."""
    if not isinstance(value, str):
        return []
    if setting in ("client_key", "secrets_file"):
        return [Path(value).expanduser().absolute()]
    if setting == "broker_url":
        return [Path(path) for path in parse_qs(urlsplit(value).query).get("ssl_keyfile", [])]
    return []


def _exposed_mode(path: Path) -> int | None:
    """Return the file's mode if every user may read it, and enter all directories above it."""
    try:
        real = path.resolve(strict=True)
        mode = stat.S_IMODE(real.stat().st_mode)
        is_open = all(above.stat().st_mode & stat.S_IXOTH for above in real.parents)
    except OSError:
        return None
    return mode if is_open and mode & stat.S_IROTH else None
