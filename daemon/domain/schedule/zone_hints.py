"""What a name that is no zone was probably meant to be, for the error that refuses it.

A zone is suggested for its meaning. Names that are alike in letters may be hours apart, so a near
miss counts only within its region, and only if no zone with other offsets is as near.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from difflib import SequenceMatcher
from functools import cache, lru_cache

from daemon.domain.schedule.timezones import zone, zone_names

_LONGEST = 64
"""Maximum characters of a name that is guessed at; longer ones mean nothing and cost time."""
_SHORTEST = 5
"""Minimum characters of a near miss: shorter names are abbreviations, such as CEST and EST."""
_NEAR = 0.8
"""Minimum likeness of a near miss, from 0 to 1."""
_AS_NEAR = 0.1
"""Difference of likeness up to which another zone is as near."""
_SEASONS = (datetime(2036, 1, 1, tzinfo=UTC), datetime(2036, 7, 1, tzinfo=UTC))
"""Instants after every change that is known in advance, in both seasons."""
_PLACES = frozenset(
    {
        *("africa", "america", "antarctica", "arctic", "asia"),
        *("atlantic", "australia", "europe", "indian", "pacific"),
    }
)
"""The regions whose zones are named after places; those of others may be called `Eastern`."""
_RENAMED = {
    "America/Buenos_Aires": "America/Argentina/Buenos_Aires",
    "America/Godthab": "America/Nuuk",
    "America/Indianapolis": "America/Indiana/Indianapolis",
    "Asia/Calcutta": "Asia/Kolkata",
    "Asia/Katmandu": "Asia/Kathmandu",
    "Asia/Rangoon": "Asia/Yangon",
    "Europe/Kiev": "Europe/Kyiv",
}
"""The present IANA names of zones that CLDR calls by their former names."""
_DIRECTIONS = frozenset({"north", "south", "east", "west"})

_OFFSET = re.compile(r"(Etc/)?(UTC|GMT|UCT|Z)? ?([+\-\u2212])([0-9]{1,2})(?::?([0-9]{2}))?", re.I)
_DISPLAY = re.compile(r"(?:\([^()]*\) *)?([^()]+?)(?: *\([^()]*\))?")
_TIME = re.compile(r" (?:standard |daylight |summer )?time$")


@lru_cache(maxsize=1024)
def zone_hint(name: str) -> str:
    """Return the end of the error that refuses `name`."""
    offset = _offset_hint(name)
    if offset is not None:
        return f"; an offset is no zone: put it into the datetime, or name a place{offset}"
    likely = likely_zone(name)
    if likely is None:
        return ", such as America/New_York or UTC"
    is_windows = name.casefold() in _windows_names().keys() - _names_by_folded().keys()
    return f"; {'that is a Windows name, ' if is_windows else ''}did you mean {likely}?"


@lru_cache(maxsize=1024)
def likely_zone(name: str) -> str | None:
    """Return the zone that the caller meant by `name`, or None where that is not clear."""
    if not name or len(name) > _LONGEST:
        return None
    wanted = name.strip().replace(" ", "_").casefold()
    names = _names_by_folded()
    return (
        names.get(wanted)
        or _zone_on_display(name.strip())
        or _only(names[full] for full in names if _is_place(full, wanted))
        or _near_miss(wanted)
    )


def _offset_hint(name: str) -> str | None:
    """Return words on the zone of a fixed offset, perhaps none; None for other names."""
    if name.casefold() == "z":
        return " (UTC is the zone without an offset)"
    found = _OFFSET.fullmatch(name)
    if found is None:
        return None
    etc, base, sign, hours, minutes = found.groups()
    number = int(hours)
    if not number and not int(minutes or 0):
        return " (UTC is the zone without an offset)"
    reverse = "-" if sign == "+" else "+"
    fixed = f"Etc/GMT{reverse}{number}"
    if int(minutes or 0) or fixed not in zone_names() or (etc and (base or "").upper() == "GMT"):
        return ""
    return f" ({fixed} is always UTC{'-' if reverse == '+' else '+'}{number}: its sign is reversed)"


def _zone_on_display(name: str) -> str | None:
    """Return the zone of a Windows name, or of a name such as Eastern Time (US & Canada)."""
    display = _DISPLAY.fullmatch(name)
    shown = display[1].casefold() if display is not None else ""
    region, _, word = shown.rpartition("/")
    if region in ("america", "us", "usa"):
        shown = f"{word} time"
    windows = _windows_names()
    found = windows.get(shown) or windows.get(_TIME.sub(" standard time", shown))
    return found if found in zone_names() else None


@cache
def _windows_names() -> dict[str, str]:
    """Return the zones of Windows names, by CLDR's windowsZones; loaded for the first refusal."""
    table = importlib.import_module("tzlocal.windows_tz").win_tz
    return {name.casefold(): _RENAMED.get(iana, iana) for name, iana in table.items()}


def _is_place(folded: str, wanted: str) -> bool:
    """Return whether a zone is called by the place of `wanted`, whatever the region."""
    region, _, place = folded.rpartition("/")
    if place != wanted.rpartition("/")[2] or place in _DIRECTIONS:
        return False
    return region.partition("/")[0] in _PLACES or (not region and len(place) >= _SHORTEST)


def _near_miss(wanted: str) -> str | None:
    region, _, place = wanted.rpartition("/")
    if len(place) < _SHORTEST:
        return None
    matcher = SequenceMatcher(None, "", place, autojunk=False)
    found = []
    for folded, name in _names_by_folded().items():
        its_region, _, its_place = folded.rpartition("/")
        if its_region != region or len(its_place) < _SHORTEST - 1:
            continue
        matcher.set_seq1(its_place)
        # The first two are upper bounds of the third, and cost less.
        if min(matcher.real_quick_ratio(), matcher.quick_ratio()) >= _NEAR:
            found.append((matcher.ratio(), name))
    found = [each for each in found if each[0] >= _NEAR]
    found.sort(reverse=True)
    return _only(name for likeness, name in found if likeness >= found[0][0] - _AS_NEAR)


def _only(names: Iterable[str]) -> str | None:
    """Return the first zone, unless another one has other offsets."""
    found = list(names)
    if len({tuple(at.astimezone(zone(name)).utcoffset() for at in _SEASONS) for name in found}) > 1:
        return None
    return found[0] if found else None


@cache
def _names_by_folded() -> dict[str, str]:
    return {name.casefold(): name for name in sorted(zone_names())}
