"""docs/glossary.md names only classes that exist, each word once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "glossary.md").read_text("utf-8")


def test_every_class_named_exists() -> None:
    """A class of the code, or a named Protocol or type alias."""
    sources = [
        path for top in ("daemon", "storage", "config") for path in (ROOT / top).rglob("*.py")
    ]
    defined = {
        node.name
        for path in sources
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    named = set(re.findall(r"`([A-Z]\w+)`", PAGE.partition("## Words of the code")[2]))
    assert named
    assert named <= defined, f"rename these in docs/glossary.md: {sorted(named - defined)}"


def test_every_word_is_defined_once() -> None:
    """In each of the two tables."""
    for part in PAGE.split("\n## ")[1:]:
        words = Counter(re.findall(r"^\| ([a-z][^|]*) \|", part, re.M))
        assert all(count == 1 for count in words.values()), words
