"""The plug-in interface is whole: a package outside the repository imports nothing else."""

from __future__ import annotations

import ast
import sys
from inspect import cleandoc
from pathlib import Path
from textwrap import dedent

import pytest

from campaignd import plugin
from daemon.targets import api
from tests.support.builders import new_attempt
from tests.support.capture import CapturedEvents

EXAMPLE = Path(__file__).parents[3] / "docs" / "example_target"


def imported(source: str) -> set[str]:
    """The modules that a source file imports, without those of the standard library."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        elif isinstance(node, ast.Import):
            modules.update(each.name for each in node.names)
    return {each for each in modules if each.partition(".")[0] not in sys.stdlib_module_names}


def documented_example() -> str:
    """The code in the docstring of `Target`."""
    _, _, code = cleandoc(plugin.Target.__doc__ or "").partition("::\n")
    return dedent(code)


def test_the_example_package_imports_only_the_plugin_interface() -> None:
    """A target needs no name of the daemon's own packages."""
    sources = list(EXAMPLE.rglob("*.py"))
    assert sources
    assert set().union(*(imported(path.read_text()) for path in sources)) == {"campaignd.plugin"}


def test_the_plugin_module_exports_the_whole_interface() -> None:
    """Both modules list the same names, and each listed name is the same object."""
    assert plugin.__all__ == api.__all__
    assert all(getattr(plugin, name) is getattr(api, name) for name in api.__all__)


async def test_the_example_in_the_docstring_delivers(tmp_path: Path) -> None:
    """The documented target appends the run, and asks for a retry when it cannot."""
    code = documented_example()
    assert imported(code) == {"campaignd.plugin"}
    names: dict[str, object] = {}
    exec(code, names)
    make = names["make"]
    target = make("spool", {"path": tmp_path / "runs"}, CapturedEvents())  # type: ignore[operator]
    assert await target.deliver(new_attempt()) == plugin.Delivered()
    assert (tmp_path / "runs").read_text() == f"{new_attempt().run_id}\n"
    target = make("spool", {"path": tmp_path / "missing" / "runs"}, CapturedEvents())  # type: ignore[operator]
    assert (await target.deliver(new_attempt())).after == 30


async def test_a_target_must_deliver_and_may_leave_out_the_rest() -> None:
    """Only `deliver` is abstract; `cancel` and `close` do nothing by default."""

    class Bare(plugin.Target):
        async def deliver(self, attempt: plugin.Attempt) -> plugin.Outcome:
            del attempt
            return plugin.Delivered()

    target = Bare()
    await target.cancel(new_attempt())
    await target.close()
    assert not target.waits
    with pytest.raises(TypeError, match="deliver"):
        plugin.Target()  # type: ignore[abstract]
