"""The choice between the system's time-zone data and the package's."""

from __future__ import annotations

import os
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import tzdata

from daemon.domain.schedule import zone_data
from daemon.domain.schedule.zone_data import Preference, ZoneData, at_hand, tzdata_version, use

PACKAGE: str = tzdata.IANA_VERSION
OLDER, NEWER = "2000a", "2999z"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Restore zoneinfo's search path and the choice."""
    path, chosen = zoneinfo.TZPATH, list(zone_data._chosen)
    yield
    zoneinfo.reset_tzpath(path)
    zone_data._chosen[:] = chosen


def tree(path: Path, version: str | None = None, name: str = "tzdata.zi") -> list[str]:
    """Write a tree of the system; return the search path that names it."""
    (path / "Etc").mkdir(parents=True)
    (path / "Etc" / "UTC").write_bytes(b"TZif")
    if version is not None:
        prefix = "# version " if name == "tzdata.zi" else ""
        (path / name).write_text(f"{prefix}{version}\n# ddeps x\n")
    return [str(path)]


def used(preference: Preference, path: list[str]) -> ZoneData:
    data = use(preference, path)
    assert data is not None
    assert zone_data.in_use() == data
    return data


@pytest.mark.parametrize(
    ("version", "winner"),
    [
        (OLDER, Preference.PACKAGE),
        (NEWER, Preference.SYSTEM),
        (PACKAGE, Preference.SYSTEM),
        (None, Preference.PACKAGE),
        ("unknown", Preference.PACKAGE),
    ],
)
def test_the_newest_wins(tmp_path: Path, version: str | None, winner: Preference) -> None:
    data = used(Preference.NEWEST, tree(tmp_path, version))
    assert data.source is winner
    first = tmp_path if winner is Preference.SYSTEM else Path(tzdata.__file__).parent / "zoneinfo"
    assert data.directory == first
    assert zoneinfo.TZPATH[0] == str(first)


def test_the_setting_decides_otherwise(tmp_path: Path) -> None:
    older, newer = tree(tmp_path / "older", OLDER), tree(tmp_path / "newer", NEWER)
    assert used(Preference.SYSTEM, older).version == tzdata_version() == OLDER
    assert used(Preference.PACKAGE, newer).version == tzdata_version() == PACKAGE


def test_missing_data_is_replaced_by_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A version without zones beside it is not what zoneinfo uses.
    (tmp_path / "tzdata.zi").write_text(f"# version {NEWER}\n")
    assert used(Preference.SYSTEM, [str(tmp_path)]).version == PACKAGE
    monkeypatch.setattr(zone_data, "_of_package", lambda: None)
    assert used(Preference.PACKAGE, tree(tmp_path / "tree", OLDER)).version == OLDER
    assert use(Preference.NEWEST, []) is None
    assert (tzdata_version(), zone_data.describe(None)) == ("none", "none")


def test_the_version_comes_from_the_version_file_too(tmp_path: Path) -> None:
    assert used(Preference.SYSTEM, tree(tmp_path, NEWER, "+VERSION")).version == NEWER


def test_the_version_follows_the_contents_where_nothing_names_it(tmp_path: Path) -> None:
    path = tree(tmp_path)
    first = used(Preference.SYSTEM, path).version
    (tmp_path / "Etc" / "UTC").write_bytes(b"TZif2")
    assert first is not None
    assert first.startswith("sha256-")
    assert used(Preference.SYSTEM, path).version != first


@pytest.mark.parametrize(
    ("version", "written", "as_of"),
    [
        ("2025b", "2025-03-24", "2025-03-24"),
        ("2025b", "2026-11-28", "2025-12-31"),
        ("2025b", "1980-01-01", "2025-01-01"),
        (None, "2024-05-06", "2024-05-06"),
    ],
)
def test_the_age_is_that_of_the_files_within_the_versions_year(
    tmp_path: Path, version: str | None, written: str, as_of: str
) -> None:
    path = tree(tmp_path, version)
    seconds = datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp()
    os.utime(tmp_path / "Etc" / "UTC", (seconds, seconds))
    (system,) = [data for data in at_hand(path) if data.source is Preference.SYSTEM]
    assert system.as_of == date.fromisoformat(as_of)
