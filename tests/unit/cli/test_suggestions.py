"""A word that names no command leads to the command that the person means."""

from __future__ import annotations

import pytest

from daemon.cli.lazy_group import COMMANDS
from daemon.cli.suggestions import DANGEROUS, suggestion

NAMES = {*COMMANDS, "create", "delete"}


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("add", "create"),
        ("new", "create"),
        ("resume", "start"),
        ("unpause", "start"),
        ("ls", "campaigns"),
        ("remove", "delete"),
        ("cancel", "stop"),
        ("migrate", "db upgrade"),
        ("help", "--help"),
        ("explane", "explain"),
        ("campaing", "campaigns"),
    ],
)
def test_by_meaning_and_by_spelling(word: str, meant: str) -> None:
    assert suggestion(word, NAMES) == f"campaignd {meant}"


@pytest.mark.parametrize("word", ["delet", "relese", "prun", "stp", "deleet", "rerum"])
def test_spelling_alone_never_leads_to_a_dangerous_command(word: str) -> None:
    found = suggestion(word, {*NAMES, *DANGEROUS}) or ""
    assert found.removeprefix("campaignd ") not in DANGEROUS


def test_an_unlikely_word_has_no_suggestion() -> None:
    assert suggestion("xyzzy", NAMES) is None
