"""The site of the documentation has every page, whole links, and nothing from other hosts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
NAVIGATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]


def pages_in(navigation: Any) -> Iterator[str]:
    """Yield the pages of a navigation, at any depth."""
    for entry in navigation:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from pages_in(below)


def test_the_navigation_has_every_page() -> None:
    named = list(pages_in(NAVIGATION))
    assert len(named) == len(set(named))
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages <= set(named), f"name these in mkdocs.yml: {sorted(pages - set(named))}"
    assert all((ROOT / page).exists() for page in named)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere() -> None:
    """Warnings, such as of a link to nowhere, end the build."""
    built = subprocess.run(
        ["make", "-s", "docs"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((ROOT / "build/site").rglob("*.html"))
    assert len(pages) > len(list(pages_in(NAVIGATION))) / 2
    loaded = r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"?(https?:[^\" >]+)"
    for page in pages:
        assert re.findall(loaded, page.read_text("utf-8")) == [], page
