"""The time-zone data of this process: the newer one of the system's and the package's.

zoneinfo by itself reads the system's, however old it is, and asks the package tzdata only for
zones that the system lacks. `use` puts the chosen one first in zoneinfo's search path. Releases are
named by year and letter, such as 2026a, and so sort by age.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import zoneinfo
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import NamedTuple

SYSTEM_PATH: tuple[str, ...] = zoneinfo.TZPATH
"""zoneinfo's own search path, which PYTHONTZPATH sets."""
NOT_IANA = frozenset({"localtime", "posixrules", "Factory"})
"""Names on some machines: two aliases of the machine's own zone, and "not set"."""
_release_of = re.compile(r"[0-9]{4}[a-z]{1,2}").match


class Preference(StrEnum):
    """The values of the setting `timezone_data`."""

    NEWEST = "newest"
    SYSTEM = "system"
    PACKAGE = "package"


class ZoneData(NamedTuple):
    """One copy of the tz database on this machine.

    `source` is SYSTEM or PACKAGE. `version` is None where the data does not tell; such data counts
    as older than any other. `as_of` is the latest day at which the data can have been released: the
    day of the file, within the version's year.
    """

    source: Preference
    directory: Path
    version: str | None
    as_of: date

    @property
    def release(self) -> str:
        """Return the name of the IANA release, empty where it is unknown."""
        found = _release_of(self.version or "")
        return found[0] if found else ""


def at_hand(system_path: Sequence[str] = SYSTEM_PATH) -> list[ZoneData]:
    """Return the data on this machine, the newest first; of the same age, the system's first."""
    found = [data for data in (_of_system(system_path), _of_package()) if data is not None]
    return sorted(found, key=lambda data: data.release, reverse=True)


def use(preference: Preference, system_path: Sequence[str] = SYSTEM_PATH) -> ZoneData | None:
    """Choose the data of this process, before it reads the first zone.

    Returns:
        The data in use; None where there is none. Where the preferred data is missing, that is the
        other.
    """
    found = at_hand(system_path)
    preferred = [data for data in found if preference in (Preference.NEWEST, data.source)]
    chosen = next(iter([*preferred, *found]), None)
    package_first = chosen is not None and chosen.source is Preference.PACKAGE
    path = [str(chosen.directory)] if chosen is not None and package_first else []
    zoneinfo.reset_tzpath([*path, *system_path])
    if chosen is not None and chosen.version is None:
        chosen = chosen._replace(version=_contents_digest(chosen.directory))
    _chosen[:] = [chosen]
    return chosen


_chosen: list[ZoneData | None] = []


def in_use() -> ZoneData | None:
    """Return the data of this process: the newest, unless `use` was called before."""
    return _chosen[0] if _chosen else use(Preference.NEWEST)


def tzdata_version() -> str:
    """Return the version of the data in use, such as "2026a"; "none" where there is none.

    Data that does not tell its version has a digest of its contents instead, so that a change is
    still detected.
    """
    data = in_use()
    return "none" if data is None or data.version is None else data.version


def describe(data: ZoneData | None) -> str:
    """Return version, source and place, for readers."""
    if data is None:
        return "none"
    source = "the system" if data.source is Preference.SYSTEM else "the package tzdata"
    return f"{data.version or 'without a version'} of {source}, in {data.directory}"


def tzdata_origin() -> tuple[str, str]:
    """Return the source and the directory of the data in use, for readers."""
    data = in_use()
    return ("none", "") if data is None else (data.source.value, str(data.directory))


def _of_system(system_path: Sequence[str]) -> ZoneData | None:
    for directory in map(Path, system_path):
        # A version without zones beside it is not what zoneinfo uses.
        if (directory / "Etc" / "UTC").is_file():
            return _read(Preference.SYSTEM, directory, _version_in(directory))
    return None


@cache
def _of_package() -> ZoneData | None:
    try:
        package = importlib.import_module("tzdata")
    except ImportError:
        return None
    directory = Path(next(iter(package.__path__))).resolve() / "zoneinfo"
    if not directory.is_dir():
        return None
    return _read(Preference.PACKAGE, directory, getattr(package, "IANA_VERSION", None))


def _read(source: Preference, directory: Path, version: str | None) -> ZoneData:
    day = datetime.fromtimestamp((directory / "Etc" / "UTC").stat().st_mtime, UTC).date()
    data = ZoneData(source, directory, version, day)
    if not data.release:
        return data
    year = int(data.release[:4])
    return data._replace(as_of=min(max(day, date(year, 1, 1)), date(year, 12, 31)))


def _version_in(directory: Path) -> str | None:
    for name, prefix in (("tzdata.zi", "# version "), ("+VERSION", "")):
        try:
            with (directory / name).open(encoding="utf-8", errors="replace") as file:
                first = file.readline(200).strip()
        except OSError:
            continue
        if first.startswith(prefix) and len(first) > len(prefix):
            return first.removeprefix(prefix)
    return None


def _contents_digest(directory: Path) -> str:
    digest = hashlib.sha256()
    for name in sorted(zoneinfo.available_timezones() - NOT_IANA):
        path = directory / name
        if path.is_file():
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return "sha256-" + digest.hexdigest()[:12]
