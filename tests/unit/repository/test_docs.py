"""What the documents name is there: files, commands, settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.names import FIELDS, is_setting, is_table
from daemon.cli.lazy_group import COMMANDS

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "systemd" / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_commands(page: Path) -> None:
    """Every relative link leads to a file, every command is one."""
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in link or (page.parent / link).exists(), link
    named = set(re.findall(r"(?:`|bin/)campaignd ([a-z]+)\b", text))
    assert named <= COMMANDS.keys() | {"demo"}, named - COMMANDS.keys()


def test_settings_named_are_settings() -> None:
    """In the operators' pages: `section.setting`."""
    sections = {name[0] for name in FIELDS if len(name) > 1}
    for page in PAGES:
        for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", page.read_text("utf-8")):
            parts = tuple(name.split("."))
            if parts[0] in sections - {"targets"}:
                assert is_setting(parts) or is_table(parts), (page.name, name)
