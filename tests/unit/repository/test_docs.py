"""The files, anchors, commands and settings that the documentation names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.names import FIELDS, is_setting, is_table
from config.settings import ApiSettings, DatabaseSettings
from daemon.cli.lazy_group import COMMANDS

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "systemd/README.md")
PAGES = sorted([*DOCS.glob("*.md"), *(ROOT / name for name in TOP)])
CODE_BLOCK = re.compile(r"^```.*?^```$", re.M | re.S)


def page_id(page: Path) -> str:
    """The name of a page in the test's report."""
    return str(page.relative_to(ROOT))


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = CODE_BLOCK.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file, and to a heading where it names one."""
    text = CODE_BLOCK.sub("", page.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), link
        if anchor:
            assert anchor in anchors_of(linked), (link, sorted(anchors_of(linked)))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_exist(page: Path) -> None:
    """Every command that is named after `campaignd` is one."""
    named = set(re.findall(r"(?:`|bin/)campaignd ([a-z]+(?:-[a-z]+)*)\b", page.read_text("utf-8")))
    assert named <= COMMANDS.keys() | {"demo"}, named - COMMANDS.keys()


def test_settings_exist() -> None:
    """Names of the form `section.setting` are settings or their sections."""
    sections = {name[0] for name in FIELDS if len(name) > 1}
    for page in PAGES:
        for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", page.read_text("utf-8")):
            parts = tuple(name.split("."))
            if parts[0] in sections - {"targets"}:
                assert is_setting(parts) or is_table(parts), (page.name, name)


def test_modules_exist() -> None:
    """Paths of source and test files in backticks lead to files, from the top of the repository."""
    paths = re.compile(r"`((?:campaignd|daemon|storage|config|tests|benchmarks|docs)/[\w./-]+)`")
    for page in PAGES:
        for path in paths.findall(page.read_text("utf-8")):
            assert "NAME" in path or (ROOT / path).exists(), (page.name, path)


def test_the_index_names_every_page() -> None:
    """docs/README.md links every file beside it, CONTRIBUTING.md and SECURITY.md."""
    index = (DOCS / "README.md").read_text("utf-8")
    linked = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", index)}
    files = {path.name for path in DOCS.iterdir() if path.is_file()}
    missing = files - linked - {"README.md", "performance.svg"}
    assert not missing, f"link these in docs/README.md: {sorted(missing)}"
    assert {"../CONTRIBUTING.md", "../SECURITY.md"} <= linked


def test_code_cites_headings_that_exist() -> None:
    """A page of docs/ that is cited in the code exists, and so does the heading."""
    tops = ("campaignd", "daemon", "storage", "config", "systemd", "tests")
    sources = [path for top in tops for path in (ROOT / top).rglob("*") if path.is_file()]
    cited = re.compile(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?")
    for source in sources:
        if source.suffix not in {".py", ".sql", ".toml", ".md", ".service"}:
            continue
        for name, anchor in cited.findall(source.read_text("utf-8")):
            assert (DOCS / name).exists(), (source, name)
            if anchor:
                assert anchor in anchors_of(DOCS / name), (source, name, anchor)


def test_the_outputs_of_health_exist() -> None:
    """The table of docs/operations.md quotes texts that the code contains."""
    page = (DOCS / "operations.md").read_text("utf-8")
    table = page[page.index("| output | meaning") :].partition("\n\n")[0]
    source = "\n".join(
        (ROOT / name).read_text("utf-8")
        for name in (
            "daemon/cli/commands/health.py",
            "daemon/node_status.py",
            "daemon/runtime/watchdog.py",
            "storage/privilege_checks.py",
            "storage/schema.py",
        )
    )
    quoted = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`.+?) \|", table, re.M)))
    assert quoted
    for text in quoted:
        for piece in re.sub(r"^(ok )?\w+: ", "", text).split("..."):
            assert piece.strip() in source, text


def test_the_connections_of_a_node_are_added_up() -> None:
    """The page gives the sum of the default settings."""
    firing, http = DatabaseSettings().pool_size, ApiSettings().pool_size
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert f"So a node needs {2 * firing + http + 3} with the defaults" in page
    assert re.findall(r"^\| node: .* \| (\d+) \|$", page, re.M) == [
        str(2 * firing),
        str(http),
        "1",
        "1",
        "1",
    ]
