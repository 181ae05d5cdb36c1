"""Settings taken over from the process that has read them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from config.changes import needs_restart
from config.errors import ConfigurationError
from config.load import load_settings
from config.values_only import Reading, Values, plain

FILE = """
[api]
port = 9
[scheduler]
horizon = 30
[targets.shop]
type = "webhook"
url = "https://shop.example/hook"
headers = { x-shop = "1" }
[targets.tool]
type = "command"
argv = ["/bin/true", "-x"]
cwd = "/"
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A configuration."""
    path = tmp_path / "c.toml"
    path.write_text(FILE)
    return path


def shape(value: Any) -> Any:
    """All there is in a section, whether a model or plain."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    inner = getattr(value, "__dict__", None)
    return value if inner is None else {name: shape(each) for name, each in inner.items()}


def test_they_are_the_same(written: Path) -> None:
    """Every setting, with every value, of the same type."""
    flags = {"api.enabled": False}
    found = Reading(written, flags).settings()
    expected = load_settings(written, flags)
    assert shape(found) == shape(expected)
    assert found.api.port == 9
    assert found.api.enabled is False
    assert found.targets["tool"].cwd == Path("/")  # type: ignore[union-attr]


def test_every_mistake_is_told(written: Path) -> None:
    """As if the configuration were read here."""
    written.write_text("[api]\nport = -1\nprot = 1\n")
    with pytest.raises(ConfigurationError) as here:
        load_settings(written)
    with pytest.raises(ConfigurationError) as there:
        Reading(written, {}).settings()
    assert there.value.problems == here.value.problems
    assert str(there.value) == str(here.value)
    assert len(there.value.problems) == 2


def test_a_reader_that_dies_is_no_configuration(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started on half an answer."""
    monkeypatch.setattr("config.values_only._CODE", "raise SystemExit(7)")
    with pytest.raises(RuntimeError, match="ended with 7"):
        Reading(written, {}).settings()


def test_they_do_not_change_and_do_not_show() -> None:
    """Some of them are secrets."""
    values = Values({"secret": "whsec_1"})
    with pytest.raises(AttributeError):
        values.secret = "other"
    assert "whsec" not in repr(values)
    assert pickle.loads(pickle.dumps(values)) == values
    assert values != Values({"secret": "whsec_2"})


def test_what_needs_a_restart(written: Path) -> None:
    """Of plain settings too."""
    before = plain(load_settings(written))
    written.write_text(FILE.replace("30", "31").replace("9", "8").replace("shop.e", "shops.e"))
    after = plain(load_settings(written))
    assert needs_restart(before, after) == ["api.port", "scheduler.horizon"]
    assert needs_restart(before, before) == []
