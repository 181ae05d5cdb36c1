"""The example file is the reference of all settings: complete and correct."""

from __future__ import annotations

import itertools
import re
import tomllib
from importlib.resources import files
from pathlib import Path

from config.load import line_number_of, load_settings
from config.names import FIELDS
from config.settings import Settings
from config.target_settings import TARGET_MODELS, TARGET_TYPES

EXAMPLE = files("config").joinpath("campaignd.example.toml").read_text(encoding="utf-8")
SETTING = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)
FROM_THE_MACHINE = (
    "database_url",
    "listen_database_url",
    "state_dir",
    "embedded_programs",
    "node_name",
    "public_url",
)


def loads(text: str, tmp_path: Path) -> Settings:
    path = tmp_path / "campaignd.toml"
    path.write_text(text)
    return load_settings(path, environ={"STATE_DIRECTORY": "/somewhere"})


def uncommented(text: str) -> str:
    return SETTING.sub("", text)


def other_targets() -> str:
    """Return the part with the other types of target."""
    lines = (line for line in EXAMPLE.splitlines() if line.startswith("#|"))
    return "\n".join(line.removeprefix("#|").removeprefix(" ") for line in lines)


def test_uncommented_it_gives_the_defaults(tmp_path: Path) -> None:
    """Every value is the default, except those that depend on the machine."""
    fixed = "\n".join(
        line
        for line in EXAMPLE.splitlines()
        if not line.startswith(tuple(f"#{name} =" for name in FROM_THE_MACHINE))
    )
    expected = loads("", tmp_path)
    assert loads(uncommented(fixed), tmp_path) == expected


def test_all_of_it_loads(tmp_path: Path) -> None:
    """The values for settings without a default are valid too."""
    assert str(loads(uncommented(EXAMPLE), tmp_path).state_dir) == "/var/lib/campaignd"


def test_as_it_is_it_loads_too(tmp_path: Path) -> None:
    """A copy of the file is a valid configuration."""
    assert loads(EXAMPLE, tmp_path) == loads("", tmp_path)


def test_every_setting_is_in_it() -> None:
    """A new setting must be documented."""
    text = uncommented(EXAMPLE)
    missing = []
    for name in FIELDS:
        if name[0] == "targets":
            continue
        line = line_number_of(text, name)
        last = text.splitlines()[line - 1] if line else ""
        if not last.startswith(f"{name[-1]} ="):
            missing.append(".".join(name))
    assert missing == []


def test_every_setting_is_described() -> None:
    """Every setting has a comment of its own."""
    lines = EXAMPLE.splitlines()
    bare = [
        line
        for above, line in itertools.pairwise(lines)
        if SETTING.match(line) and not above.startswith("# ")
    ]
    assert bare == []


def test_the_other_targets_load(tmp_path: Path) -> None:
    """The commented tables are valid, and show every type of target."""
    settings = loads(other_targets(), tmp_path)
    assert {target.type for target in settings.targets.values()} == set(TARGET_TYPES)


def test_every_setting_of_a_target_is_shown() -> None:
    """A new setting of a target must be documented."""
    shown = uncommented(EXAMPLE) + other_targets()
    keys = {name[2] for name in FIELDS if name[0] == "targets"}
    assert {key for key in keys if not re.search(rf"^{key} = ", shown, re.MULTILINE)} == set()


def test_what_the_other_targets_show_is_the_default(tmp_path: Path) -> None:
    """A shown value is the default, unless the comment above it names another."""
    tables = tomllib.loads(other_targets())["targets"]
    documented = set(re.findall(r"^# default.*\n(\w+) = ", other_targets(), re.MULTILINE))
    documented |= {"ca_file"}
    for table in tables.values():
        (model,) = (
            m for m in TARGET_MODELS if m.__name__.lower() == f"{table['type']}targetsettings"
        )
        for key, value in table.items():
            field = model.model_fields[key]
            if not field.is_required() and key not in documented | {"options"}:
                assert (table["type"], key, field.default) == (table["type"], key, value)
