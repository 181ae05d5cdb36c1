"""The layout of the tests: unit tests mirror the sources, and helpers are in tests/support."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
SOURCES = (ROOT / "daemon", ROOT)
"""Where the package of a folder in tests/unit may be."""
OWN_SUBJECT = "repository"
"""The folder of tests about files of the repository, which are no package."""
TIERS = ("unit", "integration", "acceptance", "chaos")


def test_unit_tests_mirror_the_packages() -> None:
    """`tests/unit/X/test_*.py` belongs to the package `daemon/X` or `X`."""
    folders = {path.parent.relative_to(TESTS / "unit") for path in TESTS.glob("unit/**/test_*.py")}
    strays = {
        str(folder)
        for folder in folders - {Path(OWN_SUBJECT)}
        if not any((source / folder / "__init__.py").is_file() for source in SOURCES)
    }
    assert strays == set()


def test_helpers_are_in_support() -> None:
    """The other folders hold tests, and data in modules beside the tests that share it."""
    assert list(TESTS.glob("support/**/test_*.py")) == []
    assert {path.name for path in TESTS.iterdir() if path.is_dir()} - {"__pycache__"} == {
        *TIERS,
        "support",
    }
    for tier in ("integration", "acceptance", "chaos"):
        modules = {path.name for path in TESTS.glob(f"{tier}/**/*.py")}
        assert {name for name in modules if not name.startswith("test_")} <= {"conftest.py"}
