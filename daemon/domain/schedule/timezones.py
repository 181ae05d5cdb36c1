"""Time zones: lookup by IANA name, wall-clock time to instants, and which tzdata is in use.

Names are compared with the set of names that zoneinfo offers before anything is opened, so a name
from outside never becomes a path. zoneinfo's own search order (TZPATH, then the tzdata package) is
left as it is.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

# Present on some machines, but an alias for whatever that machine is set to.
_NOT_IANA = frozenset({"localtime", "posixrules"})
# Longer names have no likely meaning, and comparing them costs time.
_LONGEST_GUESSED = 64

_NO_TIME = timedelta(0)

_loaded: dict[str, ZoneInfo] = {}


@cache
def zone_names() -> frozenset[str]:
    """All accepted IANA names; reads the zone directories once per process."""
    return frozenset(zoneinfo.available_timezones()) - _NOT_IANA


def is_zone(name: str) -> bool:
    """Whether `name` is an IANA name, in its exact case."""
    return name in _loaded or name in zone_names()


def zone(name: str) -> ZoneInfo:
    """The zone called `name`; KeyError when there is none."""
    found = _loaded.get(name)
    if found is None:
        if name not in zone_names():
            raise KeyError(name)
        found = _loaded[name] = ZoneInfo(name)
    return found


@lru_cache(maxsize=1024)
def likely_zone(name: str) -> str | None:
    """The accepted name that somebody who wrote `name` most likely meant, or None."""
    if not name or len(name) > _LONGEST_GUESSED:
        return None
    wanted = name.strip().replace(" ", "_").casefold()
    by_folded = _names_by_folded()
    if wanted in by_folded:
        return by_folded[wanted]
    cities = sorted(full for full in by_folded if full.rsplit("/", 1)[-1] == wanted)
    if cities:
        return by_folded[cities[0]]
    near = difflib.get_close_matches(wanted, by_folded, n=1, cutoff=0.75)
    return by_folded[near[0]] if near else None


@cache
def _names_by_folded() -> dict[str, str]:
    return {name.casefold(): name for name in sorted(zone_names())}


def resolve(local: datetime, in_zone: ZoneInfo) -> datetime:
    """The UTC instant of a naive wall-clock time; OverflowError outside the years 1 to 9999.

    RFC 5545 section 3.3.5: in a gap the offset before it holds, in an overlap the first pass is
    meant. Both are what fold=0 says (PEP 495).
    """
    if local.fold:
        local = local.replace(fold=0)
    # A zone answers for wall-clock time: what `astimezone` asks too, in a quarter of its time.
    offset = in_zone.utcoffset(local) or _NO_TIME
    return datetime.combine(local, local.time(), UTC) - offset


def wall_clock(instant: datetime, in_zone: ZoneInfo) -> datetime:
    """The naive wall-clock time of an aware instant; OverflowError outside the years 1 to 9999."""
    # fold is dropped: it would travel on into times of day and pick the second pass elsewhere.
    return instant.astimezone(in_zone).replace(tzinfo=None, fold=0)


@cache
def tzdata_version() -> str:
    """Version of the tz database that zoneinfo uses in this process, such as "2026a".

    Taken from the directory of the TZPATH where zoneinfo finds its zones; without one, from the
    tzdata package. A directory that does not say its version gets one made from its contents, so
    that a change is still noticed.
    """
    for directory in map(Path, zoneinfo.TZPATH):
        if (directory / "Etc" / "UTC").is_file():
            return _version_in(directory) or _contents_digest(directory)
    try:
        package = importlib.import_module("tzdata")
    except ImportError:
        return "none"
    return str(getattr(package, "IANA_VERSION", "unknown"))


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
    for name in sorted(zone_names()):
        path = directory / name
        if path.is_file():
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return "sha256-" + digest.hexdigest()[:12]
