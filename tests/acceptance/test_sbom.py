"""The list of components that `make sbom` writes is that of an installation."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from campaignd import __version__
from tests.support.notice import required_packages

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_list_has_every_package_and_no_tool() -> None:
    """Each component has a version and a licence; the tools that install are not among them.

    A licence that is not written as SPDX in the package's metadata is in NOTICE alone.
    """
    subprocess.run(["make", "sbom"], cwd=ROOT, check=True, capture_output=True)
    listed = json.loads((ROOT / "dist" / "campaignd.cdx.json").read_text())
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["version"] == __version__
    components = {canonicalize_name(each["name"]): each for each in listed["components"]}
    assert components.keys() == required_packages().keys() - {"campaignd"}
    assert all(each["version"] for each in components.values())
    unlicensed = {name for name, each in components.items() if not each.get("licenses")}
    assert unlicensed <= {"protobuf"}
    assert "protobuf" in (ROOT / "NOTICE").read_text()
    (campaignd,) = [each for each in listed["dependencies"] if each["ref"] == "root-component"]
    assert any("sqlalchemy" in each.lower() for each in campaignd["dependsOn"])
